"""What `ros2 launch --show-args` teaches, and what wrong arguments lead to."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILES = ('ditta.launch.py', 'time2general.launch.py', 'virst.launch.py', 'demo.launch.py',
         'replay.launch.py')


@pytest.mark.parametrize('file', FILES)
def test_every_argument_is_described(file: str) -> None:
    shown = subprocess.run(['ros2', 'launch', 'vseg_ros', file, '--show-args'],
                           capture_output=True, text=True, check=True).stdout
    arguments = re.findall(r"'(\w+)':\*?\n\s+(.*)", shown)
    assert {'params_file', 'namespace', 'device', 'weights', 'log_level'} <= {
        name for name, _ in arguments}
    for name, description in arguments:
        assert len(description) > 20, name
        assert 'no description' not in description.lower(), name


@pytest.mark.parametrize(('arguments', 'said'), [
    (('ditta.launch.py', 'params_file:=/no/such.yaml'),
     'params_file:=/no/such.yaml: there is no such file'),
    (('replay.launch.py', 'bag:=/no/such', 'out:=x'), 'bag:=/no/such: there is no such bag'),
    (('ditta.launch.py', 'log_level:=loud'), 'provided value "loud" is not valid'),
    (('time2general.launch.py', 'mode:=jumping'), 'provided value "jumping" is not valid'),
    (('demo.launch.py', 'pipeline:=virtual'), 'provided value "virtual" is not valid'),
    (('demo.launch.py', 'pipeline:=virst'), 'provided value "virst" is not valid'),
])
def test_a_wrong_argument_ends_the_launch_with_a_line(
        launch: Callable[..., Any], arguments: tuple[str, ...], said: str) -> None:
    started = launch(*arguments)
    assert started.process.wait(60) == 1
    assert said in started.log
    assert 'Traceback' not in started.log


def test_a_bag_without_that_camera(launch: Callable[..., Any], drive: Callable[..., Path],
                                   tmp_path: Path) -> None:
    started = launch('replay.launch.py', f'bag:={drive()}', f'out:={tmp_path / "out"}',
                     'image:=/front')
    assert started.process.wait(60) == 1
    assert re.search('image:=/front: the bag .* has no images there; it has /camera/image',
                     started.log)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('rate', ['fast', '0', '-1', 'nan'])
def test_an_impossible_rate(launch: Callable[..., Any], drive: Callable[..., Path],
                            tmp_path: Path, rate: str) -> None:
    started = launch('replay.launch.py', f'bag:={drive()}', f'out:={tmp_path / "out"}',
                     f'rate:={rate}')
    assert started.process.wait(60) == 1
    assert f'rate:={rate}: write a number above 0' in started.log


def test_a_damaged_bag(launch: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / 'broken.mcap').write_bytes(b'no bag at all')
    started = launch('replay.launch.py', f'bag:={tmp_path / "broken.mcap"}',
                     f'out:={tmp_path / "out"}')
    assert started.process.wait(60) == 1
    assert 'no bag, or a damaged one' in started.log
