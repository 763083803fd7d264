"""`ditta.launch.py` and `demo.launch.py`: up by themselves, with the arguments given."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import CompressedImage, Image

SMALL = ('width:=128', 'height:=96', 'fps:=5')


def ask(ros: Any, kind: type[Any], service: str, **fields: Any) -> Any:
    client = ros.node('asker').create_client(kind, service)
    ros.find(client, 60)
    answer = client.call_async(kind.Request(**fields))
    ros.until(answer.done, 60)
    return answer.result()


def switches(ros: Any) -> tuple[bool, bool, str]:
    """Return use_sim_time, autostart and image_transport of the node /vseg/ditta."""
    values = ask(ros, GetParameters, '/vseg/ditta/get_parameters',
                 names=['use_sim_time', 'autostart', 'image_transport']).values
    return values[0].bool_value, values[1].bool_value, values[2].string_value


def test_the_demo_comes_up_alone_and_publishes(launch: Callable[..., Any], params: str, ros: Any,
                                               heard: Callable[..., list[Any]]) -> None:
    labels = heard(Image, '/vseg/ditta/segmentation')
    overlays = heard(Image, '/vseg/ditta/overlay')
    demo = launch('demo.launch.py', params, *SMALL)
    ros.until(lambda: len(labels) > 2 and len(overlays) > 2, 180)
    assert (labels[-1].width, labels[-1].height, labels[-1].encoding) == (128, 96, 'mono8')
    assert labels[-1].header.frame_id == 'camera'
    assert overlays[-1].encoding == 'rgb8'
    assert 'No RViz: there is no display' in demo.log
    assert demo.end() == 0
    assert demo.log.count('process has finished cleanly') == 2
    assert 'Traceback' not in demo.log


def test_the_demo_takes_compressed_images(launch: Callable[..., Any], params: str, ros: Any,
                                          heard: Callable[..., list[Any]]) -> None:
    labels = heard(Image, '/front/vseg/ditta/segmentation')
    pictures = heard(CompressedImage, '/camera/image/compressed')
    demo = launch('demo.launch.py', params, *SMALL, 'compressed:=true', 'namespace:=front/vseg')
    ros.until(lambda: len(labels) > 2 and pictures, 180)
    assert pictures[0].format.endswith('jpeg compressed bgr8')
    demo.wait_for('listening to /camera/image/compressed')


@pytest.fixture
def rviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package rviz2 whose program tells what it would show."""
    program = tmp_path / 'rviz/lib/rviz2/rviz2'
    index = tmp_path / 'rviz/share/ament_index/resource_index/packages'
    for folder in (program.parent, index):
        folder.mkdir(parents=True)
    (index / 'rviz2').touch()
    shutil.copy(Path(__file__).parent / 'rviz2.py', program)
    program.chmod(0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH',
                       f'{tmp_path / "rviz"}{os.pathsep}{os.environ["AMENT_PREFIX_PATH"]}')


@pytest.mark.usefixtures('rviz')
@pytest.mark.parametrize(('pipeline', 'namespace', 'node'), [
    ('ditta', 'vseg', '/vseg/ditta'), ('ditta', 'front/vseg/', '/front/vseg/ditta'),
    ('time2general', '/', '/time2general')])
def test_rviz_shows_the_node_of_the_demo_in_any_namespace(
        launch: Callable[..., Any], pipeline: str, namespace: str, node: str) -> None:
    demo = launch('demo.launch.py', f'pipeline:={pipeline}', f'namespace:={namespace}', *SMALL,
                  'rviz:=true', 'weights:=/no/such/weights')
    topics = ['/camera/image', *(f'{node}/{name}' for name in (
        'overlay', 'segmentation', 'confidence'))]
    demo.wait_for(f'RViz shows {topics[-1]}\n', 30)
    assert re.findall('RViz shows (.*)', demo.log) == topics
    assert demo.end() == 0


def test_the_demo_without_rviz_names_the_topic_in_any_namespace(launch: Callable[..., Any],
                                                                params: str) -> None:
    demo = launch('demo.launch.py', params, *SMALL, 'namespace:=/')
    demo.wait_for('See the node with `ros2 topic echo /ditta/status`')
    assert demo.end() == 0


def test_arguments_reach_the_node(launch: Callable[..., Any], params: str, ros: Any) -> None:
    started = launch('ditta.launch.py', params, 'namespace:=front', 'image:=/front/image_raw',
                     'device:=cpu', 'weights:=driving-b0', 'use_sim_time:=true',
                     'autostart:=false', 'log_level:=debug')
    names = ['device', 'segmenter', 'use_sim_time', 'input_size', 'image_transport']
    values = ask(ros, GetParameters, '/front/ditta/get_parameters', names=names).values
    assert [values[0].string_value, values[1].string_value, values[2].bool_value,
            values[3].integer_value, values[4].string_value] == [
        'cpu', 'driving-b0', True, 96, 'raw']
    state = ask(ros, GetState, '/front/ditta/get_state').current_state
    assert state.label == 'unconfigured'
    assert started.end() == 0


def test_what_no_argument_says_is_as_in_the_parameter_file(launch: Callable[..., Any], params: str,
                                                           ros: Any) -> None:
    file = Path(params.partition(':=')[2])
    file.write_text(f'{file.read_text()}/vseg/ditta:\n  ros__parameters:\n'
                    '    use_sim_time: true\n    autostart: false\n'
                    '    image_transport: compressed\n')
    started = launch('ditta.launch.py', params)
    assert switches(ros) == (True, False, 'compressed')
    assert started.end() == 0


def test_an_argument_goes_before_the_parameter_file(launch: Callable[..., Any], params: str,
                                                    ros: Any) -> None:
    with Path(params.partition(':=')[2]).open('a') as file:
        file.write('    use_sim_time: true\n    autostart: true\n'
                   '    image_transport: compressed\n')
    started = launch('ditta.launch.py', params, 'use_sim_time:=false', 'autostart:=false',
                     'compressed:=false')
    assert switches(ros) == (False, False, 'raw')
    assert started.end() == 0


@pytest.mark.parametrize('set_parameters', [True, False])
def test_a_launch_file_around_it_may_set_parameters(launch: Callable[..., Any], params: str,
                                                    ros: Any, tmp_path: Path,
                                                    set_parameters: bool) -> None:
    larger = tmp_path / 'larger.launch.py'
    larger.write_text(f"""
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import SetParameter
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    return LaunchDescription([
        *(SetParameter(name, value) for name, value in [
            ('use_sim_time', True), ('autostart', False)] if {set_parameters}),
        IncludeLaunchDescription(
            PathJoinSubstitution([FindPackageShare('vseg_ros'), 'launch', 'ditta.launch.py']),
            launch_arguments=[('params_file', {params.partition(':=')[2]!r})])])
""")
    started = launch(larger)
    assert switches(ros) == (set_parameters, not set_parameters, 'raw')
    assert started.end() == 0


def test_missing_weights_leave_a_node_that_can_be_mended(launch: Callable[..., Any], params: str,
                                                         ros: Any) -> None:
    started = launch('ditta.launch.py', params, 'weights:=/no/such/weights')
    started.wait_for("configure failed: no weights named '/no/such/weights'")
    set_parameter = ['ros2', 'param', 'set', '/vseg/ditta', 'segmenter', 'driving-b0']
    assert 'successful' in subprocess.run(set_parameter, capture_output=True, text=True).stdout
    subprocess.run(['ros2', 'lifecycle', 'set', '/vseg/ditta', 'configure'], check=True,
                   capture_output=True)
    # The node activates itself, whoever has configured it.
    started.wait_for('listening to /camera/image')
    assert started.end() == 0


def test_a_dead_node_is_no_failure_of_the_launch_so_the_units_restart_it_always(
        launch: Callable[..., Any], params: str) -> None:
    started = launch('ditta.launch.py', params, 'autostart:=false')
    started.wait_for(r'process started with pid \[\d+\]')
    found = re.search(r'process started with pid \[(\d+)\]', started.log)
    assert found is not None
    os.kill(int(found[1]), signal.SIGKILL)
    assert started.process.wait(60) == 0
    page = (Path(__file__).parents[3] / 'docs/install.md').read_text()
    assert '\nRestart=always\n' in page
    assert 'docker run --detach --restart=always ' in page


def test_it_may_be_part_of_a_larger_system(ros: Any, params: str, tmp_path: Path,
                                           launch: Callable[..., Any]) -> None:
    larger = tmp_path / 'larger.launch.py'
    larger.write_text(f"""
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import PushRosNamespace
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    return LaunchDescription([GroupAction([
        PushRosNamespace(side),
        IncludeLaunchDescription(
            PathJoinSubstitution([FindPackageShare('vseg_ros'), 'launch', 'ditta.launch.py']),
            launch_arguments=[('image', f'/{{side}}/image'),
                              ('params_file', {params.partition(':=')[2]!r})])])
        for side in ('front', 'rear')])
""")
    system = launch(larger)
    for side in ('front', 'rear'):
        system.wait_for(f'listening to /{side}/image ')
    names = ros.node('observer').get_node_names_and_namespaces
    ros.until(lambda: {('ditta', '/front/vseg'), ('ditta', '/rear/vseg')} <= set(names()))
    assert system.end() == 0


def test_arguments_of_one_launch_file_do_not_reach_the_next(
        ros: Any, params: str, tmp_path: Path, launch: Callable[..., Any]) -> None:
    system = tmp_path / 'system.launch.py'
    system.write_text(f"""
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare


def node(pipeline, **arguments):
    return IncludeLaunchDescription(
        PathJoinSubstitution([FindPackageShare('vseg_ros'), 'launch', f'{{pipeline}}.launch.py']),
        launch_arguments={{'autostart': 'false', **arguments}}.items())


def generate_launch_description():
    return LaunchDescription([
        GroupAction([node('ditta', namespace='front', image='/front/image_raw',
                          params_file={params.partition(':=')[2]!r}, compressed='true')]),
        # Nothing but defaults: what they are must not depend on what was included before.
        node('virst'), node('time2general'), node('ditta')])
""")
    started = launch(system)

    def values(node: str, *names: str) -> list[Any]:
        return [each.string_value or each.integer_value for each in ask(
            ros, GetParameters, f'{node}/get_parameters', names=list(names)).values]
    assert values('/front/ditta', 'input_size', 'image_transport') == [96, 'compressed']
    assert values('/vseg/virst', 'weights', 'image_transport') == ['virst-nano', 'raw']
    assert values('/vseg/time2general', 'weights', 'input_size') == ['driving-t2g', 360]
    assert values('/vseg/ditta', 'input_size', 'image_transport') == [360, 'raw']
    topics = {name for name, _ in ros.node('observer').get_topic_names_and_types()}
    assert {f'{node}/status' for node in ('/front/ditta', '/vseg/virst', '/vseg/time2general',
                                          '/vseg/ditta')} <= topics
    assert started.end() == 0
