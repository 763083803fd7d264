"""The node `time2general` over real topics: sliding, in clips, and when something is missing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo

from vseg_ros.errors import UserError
from vseg_ros.labels import DRIVING
from vseg_ros.nodes.parameters import Time2GeneralNodeSettings
from vseg_ros.nodes.qos import latched_profile, output_profile
from vseg_ros.settings_reading import dotted_fields

STAMP = 100_000_000  # ns between two pictures of the camera


@pytest.fixture
def hears(new_ears: Callable[..., Any]) -> Any:
    """Subscriptions to the outputs of the node."""
    return new_ears(name='time2general')


def send(ros: Any, camera: Any, node: Any, count: int) -> None:
    """Send pictures to an active node in this process, each when the last one is in sight."""
    camera.connect()
    for _ in range(count):
        before = camera.sent % 3
        camera.send()
        ros.until(lambda before=before: len(node.pipeline._window.frames) == (before + 1) % 3)


def test_from_configure_to_shutdown(start_time2general: Callable[..., Any], camera: Any,
                                    hears: Any, ros: Any) -> None:
    names: list[Any] = []
    pictures: dict[str, list[Any]] = {'confidence': [], 'overlay': []}
    viewer = ros.node('viewer')
    viewer.create_subscription(LabelInfo, '/time2general/label_info', names.append,
                               latched_profile())
    for topic, images in pictures.items():
        viewer.create_subscription(Image, f'/time2general/{topic}', images.append,
                                   output_profile())
    node = start_time2general()
    assert node.transition('configure') == [True]
    ros.until(lambda: hears.state == 'INACTIVE')
    ros.until(lambda: names)
    assert [each.class_name for each in names[-1].class_map] == list(DRIVING.names)
    assert node.transition('activate') == [True]
    camera.film_until(lambda: len(hears.segmentations) > 2 and all(pictures.values())
                      and hears.state == 'RUNNING')
    assert set(hears.states) - {'UNCONFIGURED'} == {'INACTIVE', 'RUNNING'}
    for image in hears.segmentations:
        assert (image.header.frame_id, image.encoding) == ('lens', 'mono8')
        assert (image.height, image.width, image.step) == (96, 128, 128)
    assert all(0 < stamp <= camera.sent * STAMP and stamp % STAMP == 0
               for stamp in hears.stamps)
    assert hears.stamps == sorted(set(hears.stamps))
    assert pictures['confidence'][0].encoding == 'mono8'
    assert pictures['overlay'][0].encoding == 'rgb8'

    assert node.transition('deactivate') == [True]
    ros.until(lambda: hears.state == 'INACTIVE')
    ros.until(lambda: hears.statuses[-1].frames_in == (
        hears.statuses[-1].frames_out + hears.statuses[-1].frames_dropped))
    assert node.transition('cleanup', 'configure', 'activate') == [True] * 3
    answers = len(hears.segmentations)
    camera.film_until(lambda: len(hears.segmentations) > answers)
    assert node.transition('active_shutdown') == [True]
    assert node.end(signal.SIGTERM)[0] == 0
    assert 'Traceback' not in node.log


def test_sliding_answers_every_image_at_once(new_time2general: Callable[..., Any], camera: Any,
                                             hears: Any, ros: Any) -> None:
    node = new_time2general()
    node.trigger_configure()
    node.trigger_activate()
    camera.connect()
    for count in range(1, 6):
        camera.send()
        ros.until(lambda count=count: len(hears.segmentations) == count)
    assert hears.stamps == [STAMP * count for count in range(1, 6)]
    assert len(node.pipeline._window.frames) == 3


def test_clips_are_answered_together_each_image_with_its_header(
        new_time2general: Callable[..., Any], camera: Any, hears: Any, ros: Any) -> None:
    node = new_time2general({'mode': 'clips', 'max_gap': 1000.0})
    node.trigger_configure()
    node.trigger_activate()
    send(ros, camera, node, 5)
    ros.until(lambda: len(hears.segmentations) == 3)
    assert hears.stamps == [STAMP, 2 * STAMP, 3 * STAMP]
    labels = [np.frombuffer(each.data, np.uint8) for each in hears.segmentations]
    assert any((labels[0] != each).any() for each in labels[1:]), 'each has labels of its own'
    ros.until(lambda: hears.statuses[-1].frames_in == 5)
    assert hears.statuses[-1].frames_out == 3
    node.trigger_deactivate()
    ros.until(lambda: len(hears.segmentations) == 5)
    assert hears.stamps[3:] == [4 * STAMP, 5 * STAMP]
    ros.until(lambda: hears.state == 'INACTIVE' and hears.statuses[-1].frames_out == 5)
    assert node.pipeline._window.frames == []
    assert hears.statuses[-1].frames_rejected == hears.statuses[-1].frames_dropped == 0


def test_images_of_a_camera_that_stops_are_answered(
        start_time2general: Callable[..., Any], camera: Any, hears: Any, ros: Any) -> None:
    node = start_time2general({'mode': 'clips', 'clip_length': 3, 'max_gap': 1.0})
    node.transition('configure', 'activate')
    camera.film_until(lambda: hears.segmentations)

    def settled() -> bool:
        status = hears.statuses[-1]
        return bool(status.frames_in == status.frames_out + status.frames_dropped)
    while camera.sent % 3 == 0 or settled():
        camera.send()
        ros.until(lambda: hears.statuses[-1].frames_in == camera.sent)
    # A status may overtake the image that it counts.
    ros.until(lambda: settled() and hears.stamps[-1] == camera.sent * STAMP)
    assert hears.statuses[-1].latency_max > 1.0
    assert hears.stamps == sorted(set(hears.stamps))
    # It goes on when the camera does, with a new clip.
    answers = len(hears.segmentations)
    camera.film_until(lambda: len(hears.segmentations) > answers + 2)
    assert hears.statuses[-1].frames_rejected == 0
    assert 'Traceback' not in node.log


def test_clip_that_cannot_be_computed_is_counted(
        new_time2general: Callable[..., Any], camera: Any, hears: Any, ros: Any) -> None:
    node = new_time2general({'mode': 'clips', 'max_gap': 1000.0})
    node.trigger_configure()
    node.trigger_activate()
    send(ros, camera, node, 2)
    node.pipeline._answer = None
    camera.send()
    ros.until(lambda: hears.statuses[-1].frames_rejected == 3
              and 'gave no segmentation' in hears.statuses[-1].message)
    del node.pipeline._answer
    send(ros, camera, node, 3)
    ros.until(lambda: len(hears.segmentations) == 3)
    assert hears.stamps == [4 * STAMP, 5 * STAMP, 6 * STAMP]
    ros.until(lambda: not hears.statuses[-1].message)


@pytest.mark.parametrize(('parameter', 'value', 'good', 'reason'), [
    ('weights', '/no/such/weights.safetensors', None, '/no/such/weights.safetensors'),
    ('clip_length', 5, 2, 'was trained with clips of 3: choose at most that')])
def test_what_fails_on_configure_can_be_mended(
        new_time2general: Callable[..., Any], hears: Any, ros: Any, tiny_time2general: Any,
        parameter: str, value: Any, good: Any, reason: str) -> None:
    node = new_time2general({parameter: value})
    node.trigger_configure()
    ros.until(lambda: hears.state == 'FAILED' and hears.diagnostics)
    assert hears.statuses[-1].message.startswith('configure failed: ')
    assert reason in hears.statuses[-1].message
    assert reason in hears.diagnostics[-1].status[0].message
    assert hears.diagnostics[-1].status[0].level == b'\x02'
    node.set_parameters([Parameter(parameter, value=good or str(tiny_time2general))])
    node.trigger_configure()
    ros.until(lambda: hears.state == 'INACTIVE')
    assert hears.statuses[-1].message == ''


def test_parameters(new_time2general: Callable[..., Any]) -> None:
    node = new_time2general()

    def put(name: str, value: Any) -> tuple[bool, str]:
        result = node.set_parameters([Parameter(name, value=value)])[0]
        return result.successful, result.reason
    for name, field in dotted_fields(Time2GeneralNodeSettings):
        assert node.describe_parameter(name).description == field.description
    assert node.get_parameter('mode').value == 'sliding'
    assert node.describe_parameter('mode').additional_constraints == (
        'one of sliding, clips; cannot change while the node is configured: clean it up first')
    assert 'adaptation' not in node.describe_parameter('seed').additional_constraints
    assert put('mode', 'clips') == (True, '')
    successful, reason = put('mode', 'jumping')
    assert not successful
    assert "setting 'mode' is 'jumping'" in reason
    node.trigger_configure()
    assert node.state == 'INACTIVE'
    for name, value in (('mode', 'sliding'), ('max_gap', 1.0), ('clip_length', 1), ('seed', 1)):
        successful, reason = put(name, value)
        assert not successful
        assert reason.startswith(f"parameter '{name}' cannot change while the node is configured")
    assert put('image_timeout', 1.0) == (True, '')
    node.trigger_cleanup()
    assert put('mode', 'sliding') == (True, '')
    with pytest.raises(UserError, match="did you mean 'clip_length'"):
        new_time2general({'clip_lenght': 3})
