"""The node `ditta` spun in this process: bad images, silence, failures, other clocks."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rclpy.qos import ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from vseg_ros.io.message_types import jpeg_message
from vseg_ros.labels import LabelSet
from vseg_ros.models.device_overlay import DrawOverlay
from vseg_ros.nodes.conversions import header_of


def test_malformed_images_in_a_row_and_then_a_good_one(
        active: Callable[..., Any], camera: Any, ears: Any, ros: Any) -> None:
    active()
    camera.connect()
    bad = [Image(header=header_of(1, 'lens'), height=4, width=4, encoding=encoding, step=step,
                 data=array('B', bytes(length)))
           for encoding, step, length in (('rgb8', 12, 47), ('rgb8', 11, 44), ('', 12, 48),
                                          ('32FC1', 16, 64), ('rgb8', 0, 0))]
    bad.append(Image(header=header_of(1, 'lens')))

    def looked_at() -> bool:
        """Send one more; tell whether many were looked at, and the last of them too."""
        camera.publisher.publish(bad[len(sent) % len(bad)])
        sent.append(1)
        status = ears.statuses[-1] if ears.statuses else None
        return bool(status and status.frames_rejected > 100
                    and 'an image was passed over' in status.message)
    sent: list[int] = []
    ros.until(looked_at, 60)
    camera.film_until(lambda: ears.segmentations)
    ros.until(lambda: ears.statuses[-1].frames_out > 0 and not ears.statuses[-1].message)
    last = ears.statuses[-1]
    assert last.frames_rejected + last.frames_dropped + last.frames_out <= last.frames_in


def test_frame_that_fails_costs_no_more_than_itself(active: Callable[..., Any], camera: Any,
                                                    ears: Any, ros: Any) -> None:
    node = active()
    camera.film_until(lambda: ears.segmentations)
    runtime, node.pipeline._labeller.runtime = node.pipeline._labeller.runtime, None
    camera.film_until(lambda: 'gave no segmentation' in ears.statuses[-1].message)
    node.pipeline._labeller.runtime = runtime
    answers = len(ears.segmentations)
    camera.film_until(lambda: len(ears.segmentations) > answers)
    ros.until(lambda: not ears.statuses[-1].message)


def test_who_draws_overlays_is_chosen_by_the_device(
        active: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[tuple[LabelSet, str]] = []

    def choose(label_set: LabelSet, device: str) -> DrawOverlay:
        chosen.append((label_set, device))
        return label_set.overlay

    monkeypatch.setattr('vseg_ros.nodes.video_node.overlay_for', choose)
    node = active({'device': 'cpu'})
    assert chosen == [(node.pipeline.label_set, 'cpu')]


def test_weights_that_are_missing_can_be_named_anew(
        new_node: Callable[..., Any], ears: Any, ros: Any,
        capfd: pytest.CaptureFixture[str]) -> None:
    from rclpy.parameter import Parameter
    node = new_node({'segmenter': '/no/such/weights.safetensors'})
    node.trigger_configure()
    ros.until(lambda: ears.state == 'FAILED' and ears.diagnostics)
    assert '/no/such/weights.safetensors' in ears.statuses[-1].message
    diagnosis = ears.diagnostics[-1].status[0]
    assert (diagnosis.level, diagnosis.name) == (b'\x02', 'ditta')
    assert '/no/such/weights.safetensors' in diagnosis.message
    log = capfd.readouterr().err
    assert 'configure failed: ' in log
    assert 'Traceback' not in log
    node.set_parameters([Parameter('segmenter', value='driving-b0')])
    node.trigger_configure()
    ros.until(lambda: ears.state == 'INACTIVE')
    assert ears.statuses[-1].message == ''


def test_device_that_is_missing(new_node: Callable[..., Any], ears: Any, ros: Any) -> None:
    node = new_node({'device': 'cuda:99'})
    node.trigger_configure()
    ros.until(lambda: ears.state == 'FAILED')
    assert "device 'cuda:99' is not on this machine" in ears.statuses[-1].message


def warnings_of(capfd: pytest.CaptureFixture[str], ros: Any, words: str) -> str:
    """Spin until a warning has these words."""
    heard = ''

    def warned() -> bool:
        nonlocal heard
        heard += capfd.readouterr().err
        return words in heard
    ros.until(warned)
    return next(line for line in heard.splitlines() if words in line)


def test_warning_names_the_topics_that_have_images(
        active: Callable[..., Any], ros: Any, ears: Any,
        capfd: pytest.CaptureFixture[str]) -> None:
    other = ros.node('other')
    other.create_publisher(Image, '/front/image_raw', 1)
    ros.until(lambda: ('/front/image_raw', ['sensor_msgs/msg/Image'])
              in other.get_topic_names_and_types())
    active({'image_timeout': 0.5})
    line = warnings_of(capfd, ros, 'no image on')
    assert 'no image on /image (QoS best effort, volatile, depth 1) for ' in line
    assert 'sensor_msgs/msg/Image is on /front/image_raw: remap with -r image:=/front/image_raw' \
        in line
    ros.until(lambda: 'no image on /image' in ears.statuses[-1].message)


@pytest.mark.parametrize(('form', 'topic', 'settings', 'advice'), [
    (CompressedImage, '/front/image/compressed', {}, 'sensor_msgs/msg/CompressedImage is on '
     '/front/image/compressed: set image_transport to compressed and remap with '
     '-r image:=/front/image'),
    (Image, '/front/image_raw', {'image_transport': 'compressed'}, 'sensor_msgs/msg/Image is on '
     '/front/image_raw: set image_transport to raw and remap with -r image:=/front/image_raw')])
def test_warning_names_the_topics_that_have_images_in_the_other_form(
        form: Any, topic: str, settings: dict[str, object], advice: str,
        active: Callable[..., Any], ros: Any, capfd: pytest.CaptureFixture[str]) -> None:
    other = ros.node('other')
    other.create_publisher(form, topic, 1)
    ros.until(lambda: topic in dict(other.get_topic_names_and_types()))
    active({'image_timeout': 0.5, **settings})
    assert advice in warnings_of(capfd, ros, 'no image on')


def test_warning_tells_a_qos_that_does_not_fit(
        active: Callable[..., Any], ros: Any, street: list[Any],
        capfd: pytest.CaptureFixture[str]) -> None:
    camera = ros.node('camera')
    from vseg_ros.nodes.qos import camera_profile
    profile = camera_profile()
    profile.reliability = ReliabilityPolicy.BEST_EFFORT
    camera.create_publisher(Image, '/image', profile)
    active({'image_timeout': 0.5, 'qos_overrides./image.subscription.reliability': 'reliable'})
    line = warnings_of(capfd, ros, 'no image on /image (QoS reliable')
    assert 'the QoS of its publisher camera (best effort' in line
    assert 'does not fit' in line


def test_warning_tells_another_type(active: Callable[..., Any], ros: Any,
                                    capfd: pytest.CaptureFixture[str]) -> None:
    ros.node('camera').create_publisher(CompressedImage, '/image', 1)
    active({'image_timeout': 0.5})
    line = warnings_of(capfd, ros, 'no image on /image')
    assert 'sensor_msgs/msg/CompressedImage is published there' in line
    assert 'set image_transport' in line


def test_compressed_images(active: Callable[..., Any], ros: Any, ears: Any,
                           street: list[Any]) -> None:
    publisher = ros.node('camera').create_publisher(CompressedImage, '/image/compressed', 1)
    active({'image_transport': 'compressed'})
    ros.until(lambda: publisher.get_subscription_count() > 0)
    jpeg = jpeg_message(street[0], 5, 'lens')
    publisher.publish(CompressedImage(header=header_of(5, 'lens'), format=jpeg.format,
                                      data=array('B', jpeg.data.tobytes())))
    ros.until(lambda: ears.segmentations)
    assert (ears.segmentations[0].height, ears.segmentations[0].width) == street[0].shape[:2]


def test_clock_that_stands_still(active: Callable[..., Any], ros: Any, camera: Any,
                                 ears: Any) -> None:
    active({'use_sim_time': True, 'status_period': 0.2})
    clock = ros.node('simulator').create_publisher(Clock, '/clock', 1)
    ros.until(lambda: clock.get_subscription_count() > 0)
    message = Clock()
    message.clock.sec = 77
    clock.publish(message)
    camera.film_until(lambda: ears.segmentations)
    ros.until(lambda: ears.statuses[-1].header.stamp.sec == 77)
    heard = len(ears.statuses)
    ros.until(lambda: len(ears.statuses) > heard + 3)
    assert ears.statuses[-1].header.stamp.sec == 77


def test_clock_that_begins_anew(active: Callable[..., Any], ros: Any, camera: Any,
                                ears: Any) -> None:
    active({'use_sim_time': True, 'status_period': 0.2})
    clock = ros.node('simulator').create_publisher(Clock, '/clock', 1)
    ros.until(lambda: clock.get_subscription_count() > 0)
    message = Clock()
    for seconds in (1000, 5):
        message.clock.sec = seconds
        clock.publish(message)
        # A bag that is played in a loop: its images begin anew with its clock.
        camera.sent = 10 * seconds
        answers = len(ears.segmentations)
        camera.film_until(lambda answers=answers: len(ears.segmentations) > answers + 2)
        ros.until(lambda seconds=seconds: ears.statuses[-1].header.stamp.sec == seconds)
        assert ears.segmentations[-1].header.stamp.sec >= seconds
    assert ears.segmentations[-1].header.stamp.sec < 1000
    assert ears.statuses[-1].frames_lost == 0
    assert ears.statuses[-1].message == ''


def test_learned_weights_of_another_kind_are_refused(new_node: Callable[..., Any], ears: Any,
                                                     ros: Any, tmp_path: Path) -> None:
    (tmp_path / 'x.safetensors').write_bytes(b'nonsense')
    node = new_node({'adapted_weights': str(tmp_path / 'x.safetensors')})
    node.trigger_configure()
    ros.until(lambda: ears.state == 'FAILED')
    assert 'adapted_weights: ' in ears.statuses[-1].message


def test_a_node_may_be_destroyed_twice(active: Callable[..., Any], camera: Any, ears: Any,
                                       ros: Any) -> None:
    node = active()
    camera.film_until(lambda: ears.segmentations)
    node.destroy_node()
    node.destroy_node()
    ros.until(lambda: camera.publisher.get_subscription_count() == 0)
    assert camera.node.count_publishers('/ditta/segmentation') == 0
    # rclpy itself may keep the one that describes types for as long as somebody knows the node
    assert [name for name, _ in camera.node.get_service_names_and_types()
            if name.startswith('/ditta/')] in ([], ['/ditta/get_type_description'])
