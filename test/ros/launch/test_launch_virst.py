"""`virst.launch.py` and the shipped way to ask: a camera, a real model, `ros2 service call`."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from vseg_ros.nodes.conversions import stamp_of
from vseg_ros.srv import Query

RECORDED = {1_700_000_000_000_000_000 + index * 250_000_000 for index in range(12)}
"""Stamps of the images in a drive, in ns."""


@pytest.fixture
def bag_player(drive: Callable[..., Path]) -> Iterator[subprocess.Popen[bytes]]:
    """A bag of 12 images that is played in a loop."""
    player = subprocess.Popen(
        ['ros2', 'bag', 'play', str(drive()), '--loop', '--disable-keyboard-controls'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield player
    player.terminate()
    player.wait(20)


def test_arguments_reach_the_node(launch: Callable[..., Any], ros: Any) -> None:
    started = launch('virst.launch.py', 'weights:=/no/such/weights', 'device:=cpu',
                     'namespace:=front', 'image:=/front/image_raw', 'compressed:=true')
    started.wait_for("configure failed: .*'?/no/such/weights")
    client = ros.node('asker').create_client(GetParameters, '/front/virst/get_parameters')
    ros.find(client, 60)
    answer = client.call_async(GetParameters.Request(
        names=['weights', 'device', 'image_transport', 'window.max_frames']))
    ros.until(answer.done, 60)
    values = answer.result().values
    assert [values[0].string_value, values[1].string_value, values[2].string_value,
            values[3].integer_value] == ['/no/such/weights', 'cpu', 'compressed', 64]
    ask = ros.node('user').create_client(Query, '/front/query')
    ros.find(ask)
    refused = ask.call_async(Query.Request(text='the white car'))
    ros.until(refused.done)
    assert 'the node is FAILED: configure and activate it first' in refused.result().message
    assert started.end() == 0


def test_asking_while_a_bag_plays(launch: Callable[..., Any], ros: Any, tiny_virst: Path,
                                  bag_player: Any, heard: Callable[..., list[Any]],
                                  tmp_path: Path) -> None:
    params = tmp_path / 'virst.yaml'
    params.write_text(f'/**:\n  ros__parameters:\n    device: cpu\n    weights: {tiny_virst}\n'
                      '    window.max_frames: 6\n    follow.reanchor: 0.5\n')
    started = launch('virst.launch.py', f'params_file:={params}')
    images = heard(Image, '/camera/image')
    masks = heard(Image, '/vseg/virst/mask')
    overlays = heard(Image, '/vseg/virst/overlay')
    started.wait_for('listening to /camera/image')
    seen = len(images)
    ros.until(lambda: len(images) > seen + 3, 60)
    command = subprocess.run(
        ['ros2', 'service', 'call', '/vseg/query', 'vseg_ros/srv/Query',
         "{text: 'the red car'}"], capture_output=True, text=True, timeout=120)
    assert command.returncode == 0
    assert "success=True, message=''" in command.stdout

    client = ros.node('user').create_client(Query, '/vseg/query')
    ros.find(client)
    began = time.monotonic()
    future = client.call_async(Query.Request(text='the white car', follow=True,
                                             masks=Query.Request.ALL))
    ros.until(future.done, 60)
    print(f'the second query took {time.monotonic() - began:.2f} s')
    answer = future.result()
    assert answer.success
    assert 0 <= answer.score <= 1
    stamps = [stamp_of(each.header) for each in answer.tracked]
    assert set(stamps) <= RECORDED
    assert stamps == sorted(set(stamps))
    assert 1 <= len(stamps) <= 6
    ros.until(lambda: len(masks) > 4 and len(overlays) > 4, 60)
    for mask in masks:
        assert (mask.encoding, mask.height, mask.width) == ('mono8', 96, 128)
        assert mask.header.frame_id == 'lens'
        assert set(np.unique(np.frombuffer(mask.data, np.uint8))) <= {0, 255}
    assert {stamp_of(mask.header) for mask in masks} <= RECORDED
    stop = ros.node('stopper').create_client(Trigger, '/vseg/virst/stop')
    ros.find(stop)
    stopped = stop.call_async(Trigger.Request())
    ros.until(stopped.done)
    assert stopped.result().message == 'no longer following "the white car"'
    assert started.end() == 0
    assert 'Traceback' not in started.log
