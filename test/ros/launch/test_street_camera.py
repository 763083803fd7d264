"""The street camera as a program."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from ament_index_python.packages import get_package_prefix
from sensor_msgs.msg import CompressedImage, Image

from vseg_ros.io.street import SyntheticStreet
from vseg_ros.nodes.conversions import frame_of, stamp_of

Start = Callable[..., 'subprocess.Popen[str]']


@pytest.fixture
def camera() -> Iterator[Start]:
    """Function of name:=value: the camera as a process, 64x48 at 20 Hz."""
    made: list[subprocess.Popen[str]] = []

    def start(*parameters: str) -> subprocess.Popen[str]:
        program = os.path.join(get_package_prefix('vseg_ros'), 'lib', 'vseg_ros', 'street_camera')
        command = [program, '--ros-args']
        for each in ('width:=64', 'height:=48', 'fps:=20.0', *parameters):
            command += ['-p', each]
        made.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     text=True))
        return made[-1]
    yield start
    for each in made:
        each.kill()
        each.wait()
        assert each.stdout is not None
        each.stdout.close()


def test_pictures_are_those_of_the_street(camera: Start, ros: Any,
                                          heard: Callable[..., list[Any]]) -> None:
    raw = heard(Image, '/image')
    camera('seed:=3', 'frames:=4', 'frame_id:=lens')
    ros.until(lambda: len(raw) >= 8)
    street = [item.frame.image for item in SyntheticStreet(3, 4, (48, 64), 20.0)]
    first = next(index for index, picture in enumerate(street)
                 if np.array_equal(picture, frame_of(raw[0]).image))
    stamps = [stamp_of(message.header) for message in raw]
    assert stamps == sorted(set(stamps))
    assert {message.header.frame_id for message in raw} == {'lens'}
    # Some may be lost on the way, but their order is that of the drive, over and over.
    positions = [next(index for index, picture in enumerate(street)
                      if np.array_equal(picture, frame_of(message).image)) for message in raw]
    assert positions[0] == first
    assert len(set(positions)) > 1


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0(camera: Start, ros: Any, number: int,
                                 heard: Callable[..., list[Any]]) -> None:
    raw = heard(Image, '/image')
    process = camera()
    ros.until(lambda: raw)
    process.send_signal(number)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert 'Traceback' not in output


def test_jpeg_beside_raw(camera: Start, ros: Any, heard: Callable[..., list[Any]]) -> None:
    jpeg = heard(CompressedImage, '/image/compressed')
    camera('compressed:=true', 'weather:=fog')
    ros.until(lambda: jpeg)
    assert frame_of(jpeg[0]).size == (48, 64)


def test_a_drive_without_loop_ends(camera: Start) -> None:
    process = camera('frames:=5', 'loop:=false')
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert 'the drive is over' in output


@pytest.mark.parametrize(('parameter', 'said'), [
    ('width:=5', "setting 'width' is 5: must be 32 to 4096"),
    ('fps:=0.0', "setting 'fps' is 0.0: must be 0.1 to 1000"),
    ('wether:=fog', "no setting 'wether': did you mean 'weather'?"),
])
def test_a_wrong_parameter_is_one_line_and_code_2(camera: Start, parameter: str,
                                                  said: str) -> None:
    process = camera(parameter)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 2
    assert said in output
    assert len(output.strip().splitlines()) == 1


def test_parameters_are_described_and_cannot_change(camera: Start, ros: Any,
                                                    heard: Callable[..., list[Any]]) -> None:
    from rcl_interfaces.srv import DescribeParameters
    raw = heard(Image, '/image')
    camera()
    ros.until(lambda: raw)
    client = ros.node('asker').create_client(DescribeParameters,
                                             '/street_camera/describe_parameters')
    ros.find(client)
    answer = client.call_async(DescribeParameters.Request(names=['width', 'fps', 'weather']))
    ros.until(answer.done)
    width, fps, weather = answer.result().descriptors
    assert (width.integer_range[0].from_value, width.integer_range[0].to_value) == (32, 4096)
    assert fps.floating_point_range[0].to_value == 1000
    assert 'fog' in weather.additional_constraints
    assert all(each.read_only and each.description for each in (width, fps, weather))
