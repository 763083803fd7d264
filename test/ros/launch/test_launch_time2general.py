"""`time2general.launch.py`, and the other launch files with `pipeline:=time2general`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rcl_interfaces.srv import GetParameters
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image

from vseg_ros.io.message_types import stamp_of


@pytest.fixture
def small(tmp_path: Path, tiny_time2general: Path) -> str:
    """A parameter file for a small node, as a launch argument."""
    path = tmp_path / 'small.yaml'
    path.write_text(f'/**:\n  ros__parameters:\n    precision: bfloat16\n    device: cpu\n'
                    f'    input_size: 96\n    weights: {tiny_time2general}\n')
    return f'params_file:={path}'


def test_arguments_reach_the_node(launch: Callable[..., Any], small: str, ros: Any,
                                  tiny_time2general: Path) -> None:
    started = launch('time2general.launch.py', small, 'weights:=/no/such/weights', 'mode:=clips',
                     'namespace:=front', 'image:=/front/image_raw', 'compressed:=true')
    started.wait_for("configure failed: no weights named '/no/such/weights'")
    client = ros.node('asker').create_client(GetParameters, '/front/time2general/get_parameters')
    ros.find(client, 60)
    answer = client.call_async(GetParameters.Request(
        names=['weights', 'mode', 'device', 'input_size', 'image_transport']))
    ros.until(answer.done, 60)
    values = answer.result().values
    assert [values[0].string_value, values[1].string_value, values[2].string_value,
            values[3].integer_value, values[4].string_value] == [
        '/no/such/weights', 'clips', 'cpu', 96, 'compressed']
    assert started.end() == 0


def test_the_demo_with_time2general(launch: Callable[..., Any], small: str, ros: Any,
                                    heard: Callable[..., list[Any]]) -> None:
    labels = heard(Image, '/vseg/time2general/segmentation')
    demo = launch('demo.launch.py', 'pipeline:=time2general', small, 'width:=128', 'height:=96',
                  'fps:=5')
    ros.until(lambda: len(labels) > 2, 180)
    assert (labels[-1].width, labels[-1].height, labels[-1].encoding) == (128, 96, 'mono8')
    assert 'ros2 topic echo /vseg/time2general/status' in demo.log
    assert demo.end() == 0
    assert 'Traceback' not in demo.log


def test_a_bag_in_clips(launch: Callable[..., Any], drive: Callable[..., Path], small: str,
                        tmp_path: Path) -> None:
    out = tmp_path / 'out'
    replay = launch('replay.launch.py', 'pipeline:=time2general', 'mode:=clips', small,
                    'rate:=0.5', f'bag:={drive(frames=8)}', f'out:={out}')
    assert replay.process.wait(200) == 0, replay.log
    # Two frames more than two clips: they are answered when the bag is over.
    assert re.search(r'8 of 8 images segmented, 0 refused', replay.log)
    with AnyReader([out], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        stamps = [stamp_of(reader.deserialize(data, connection.msgtype))
                  for connection, _, data in reader.messages(
                      [each for each in reader.connections
                       if each.topic == '/vseg/time2general/segmentation'])]
    assert len(stamps) == 8
    assert stamps == sorted(set(stamps))


def test_an_argument_of_the_other_node_ends_the_replay(
        launch: Callable[..., Any], drive: Callable[..., Path], small: str,
        tmp_path: Path) -> None:
    replay = launch('replay.launch.py', 'pipeline:=time2general', small, 'adapted_weights:=x',
                    f'bag:={drive(frames=4)}', f'out:={tmp_path / "out"}')
    assert replay.process.wait(120) == 1
    assert "no setting 'adapted_weights'" in replay.log
    assert not (tmp_path / 'out').exists()
