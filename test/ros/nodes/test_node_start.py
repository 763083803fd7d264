"""How the program starts, and how it does not: exit codes and the one line that says why."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ament_index_python.packages import get_package_prefix
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter

CONFIG = Path(__file__).parents[3] / 'config' / 'ditta.yaml'


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(get_package_prefix('vseg_ros')) / 'lib' / 'vseg_ros' / 'ditta'
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(('arguments', 'line'), [
    (('-p', 'warmup.frame:=3'), "no setting 'warmup.frame': did you mean 'warmup.frames'?"),
    (('-p', 'fusion.tau:=1.5'), "setting 'fusion.tau' is 1.5: must be 0 to 1"),
    (('-p', 'precision:=half'), "setting 'precision' is 'half': input should be 'auto'")])
def test_wrong_parameter_ends_the_start_with_one_line(arguments: tuple[str, ...],
                                                      line: str) -> None:
    done = run('--ros-args', *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert line in done.stderr


def test_unknown_key_in_a_parameter_file(tmp_path: Path) -> None:
    file = tmp_path / 'mine.yaml'
    file.write_text(CONFIG.read_text() + '    trackr: flow\n')
    done = run('--ros-args', '--params-file', str(file))
    assert done.returncode == 2
    assert "no setting 'trackr': did you mean 'tracker'?" in done.stderr


@pytest.mark.parametrize('arguments', [
    ('--ros-args', '--params-file', '/no/such.yaml'), ('--ros-args', '-p', 'tracker'),
    ('--ros-args', '--no-such-flag'), ('camera',)])
def test_wrong_arguments(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert arguments[-1] in done.stderr


def test_help() -> None:
    done = run('--help')
    assert done.returncode == 0
    assert '--params-file' in done.stdout


def test_parameter_file_of_the_package_loads_as_it_is(ros: Any, tmp_path: Path) -> None:
    values = flat(yaml.safe_load(CONFIG.read_text())['/**']['ros__parameters'])
    program = Path(get_package_prefix('vseg_ros')) / 'lib' / 'vseg_ros' / 'ditta'
    with (tmp_path / 'log').open('w') as log:
        process = subprocess.Popen([program, '--ros-args', '--params-file', CONFIG], stderr=log)
    try:
        client = ros.node('client').create_client(GetParameters, '/ditta/get_parameters')
        ros.find(client)
        future = client.call_async(GetParameters.Request(names=list(values)))
        ros.until(future.done)
    finally:
        process.terminate()
        assert process.wait(20) == 0
    got = dict(zip(values, map(plain, future.result().values), strict=True))
    assert got == values


def test_autostart_takes_a_node_to_work_without_a_request(
        start: Callable[..., Any], ears: Any, ros: Any) -> None:
    node = start({'autostart': True})
    ros.until(lambda: ears.state == 'WARMING_UP', 60)
    assert ears.states[-2:] == ['INACTIVE', 'WARMING_UP'], ears.states
    assert node.end()[0] == 0


def test_autostart_activates_what_somebody_else_configured(start: Callable[..., Any], ears: Any,
                                                            ros: Any) -> None:
    node = start({'autostart': True, 'segmenter': '/no/such/weights'})
    ros.until(lambda: ears.state == 'FAILED', 60)
    mended = Parameter('segmenter', value='driving-b0').to_parameter_msg()
    assert node.call(SetParameters, 'set_parameters', parameters=[mended]).results[0].successful
    assert node.transition('configure') == [True]
    ros.until(lambda: ears.state == 'WARMING_UP', 60)


def flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    return {f'{prefix}{key}': item for name, value in values.items() for key, item in (
        flat(value, f'{name}.') if isinstance(value, dict) else {name: value}).items()}


def plain(value: Any) -> Any:
    return {1: value.bool_value, 2: value.integer_value, 3: value.double_value,
            4: value.string_value}[value.type]
