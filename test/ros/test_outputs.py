"""What a node publishes for each frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo

from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import DRIVING, LabelSet
from vseg_ros.nodes.conversions import stamp_of
from vseg_ros.nodes.outputs import Outputs
from vseg_ros.nodes.qos import camera_profile, latched_profile

STAMP = 1_700_000_000_123_456_789
NOISE = np.random.default_rng(0)
IMAGE_TOPICS = ('segmentation', 'confidence', 'overlay')


def make_result(label_set: LabelSet = DRIVING, stamp: int = STAMP
                ) -> tuple[Frame, Segmentation]:
    """Make a frame and a segmentation of it, with unlabelled pixels."""
    image = NOISE.integers(0, 256, (6, 8, 3), np.uint8)
    labels = NOISE.integers(0, len(label_set), (6, 8)).astype(label_set.dtype)
    labels[0] = label_set.ignore_id
    confidence = NOISE.random((6, 8), np.float32)
    return (Frame(image, stamp, 'camera'),
            Segmentation(labels, confidence, label_set, stamp, 'camera'))


class Listener:
    """Hears topics of a node `ditta`."""

    def __init__(self, ros: Any, *topics: str) -> None:
        self.node = ros.node('listener')
        self.got: dict[str, list[Image]] = {topic: [] for topic in topics}
        self.subscriptions = {topic: self.node.create_subscription(
            Image, f'ditta/{topic}', self.got[topic].append, camera_profile())
            for topic in topics}


def make_outputs(ros: Any, label_set: LabelSet = DRIVING, **options: Any
                 ) -> tuple[LifecycleNode, Outputs]:
    """Make an active node's outputs."""
    node = ros.node('ditta', LifecycleNode, **options)
    outputs = Outputs(node, label_set)
    node.trigger_configure()
    node.trigger_activate()
    return node, outputs


def publishers_seen(node: LifecycleNode, *topics: str) -> bool:
    """Tell whether the node sees a subscriber on each topic."""
    return all(node.count_subscribers(f'ditta/{topic}') for topic in topics)


def publish_until(ros: Any, outputs: Outputs, result: tuple[Frame, Segmentation],
                  condition: Callable[[], object]) -> None:
    """Publish over and over: a listener who is there may not hear the first."""
    def published() -> bool:
        outputs.publish(*result)
        return bool(condition())
    ros.until(published)


def test_every_image_is_that_of_the_segmentation(ros: Any) -> None:
    node, outputs = make_outputs(ros)
    listener = Listener(ros, *IMAGE_TOPICS)
    ros.until(lambda: publishers_seen(node, *IMAGE_TOPICS))
    frame, segmentation = make_result()

    def all_came() -> bool:
        outputs.publish(frame, segmentation)
        return all(listener.got.values())

    ros.until(all_came)
    images = {topic: messages[0] for topic, messages in listener.got.items()}
    expected = {'segmentation': ('mono8', segmentation.labels),
                'confidence': ('mono8', np.rint(segmentation.confidence * 255).astype(np.uint8)),
                'overlay': ('rgb8', DRIVING.overlay(frame.image, segmentation.labels))}
    for topic, (encoding, pixels) in expected.items():
        message = images[topic]
        assert (message.encoding, message.height, message.width) == (encoding, 6, 8)
        assert (stamp_of(message.header), message.header.frame_id) == (STAMP, 'camera')
        assert bytes(message.data) == pixels.tobytes()


def test_many_classes_take_sixteen_bits(ros: Any) -> None:
    label_set = LabelSet.from_names([f'thing {index}' for index in range(300)])
    _, outputs = make_outputs(ros, label_set)
    listener = Listener(ros, 'segmentation')
    frame, segmentation = make_result(label_set)
    publish_until(ros, outputs, (frame, segmentation), lambda: listener.got['segmentation'])
    message = listener.got['segmentation'][0]
    assert (message.encoding, message.step) == ('mono16', 16)
    assert bytes(message.data) == segmentation.labels.astype('<u2').tobytes()


def test_an_overlay_is_drawn_by_whom_the_node_says(ros: Any) -> None:
    node = ros.node('ditta', LifecycleNode)
    outputs = Outputs(node, DRIVING, lambda image, labels: 255 - image)
    node.trigger_configure()
    node.trigger_activate()
    listener = Listener(ros, 'overlay')
    frame, segmentation = make_result()
    publish_until(ros, outputs, (frame, segmentation), lambda: listener.got['overlay'])
    assert bytes(listener.got['overlay'][0].data) == (255 - frame.image).tobytes()


def test_an_overlay_is_rendered_only_while_someone_listens(
        ros: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []
    overlay = LabelSet.overlay
    monkeypatch.setattr(LabelSet, 'overlay', lambda *arguments: (
        rendered.append(1), overlay(*arguments))[1])
    node, outputs = make_outputs(ros)
    outputs.publish(*make_result())
    assert not rendered
    listener = Listener(ros, 'overlay')
    publish_until(ros, outputs, make_result(), lambda: listener.got['overlay'])
    assert rendered
    listener.node.destroy_subscription(listener.subscriptions['overlay'])
    ros.until(lambda: not publishers_seen(node, 'overlay'))

    def not_rendered() -> bool:
        before = len(rendered)
        outputs.publish(*make_result())
        return len(rendered) == before
    ros.until(not_rendered)
    assert not_rendered()


def test_nothing_is_published_while_inactive(ros: Any) -> None:
    node, outputs = make_outputs(ros)
    listener = Listener(ros, 'segmentation')
    ros.until(lambda: publishers_seen(node, 'segmentation'))
    node.trigger_deactivate()
    outputs.publish(*make_result(stamp=1))
    node.trigger_activate()
    publish_until(ros, outputs, make_result(stamp=2), lambda: listener.got['segmentation'])
    assert {stamp_of(message.header) for message in listener.got['segmentation']} == {2}


def test_the_names_reach_who_comes_late(ros: Any) -> None:
    _, outputs = make_outputs(ros)
    before: list[LabelInfo] = []
    after: list[LabelInfo] = []
    listener = ros.node('listener')
    listener.create_subscription(LabelInfo, 'ditta/label_info', before.append, latched_profile())
    ros.until(lambda: before)
    outputs.publish(*make_result())
    outputs.publish(*make_result())
    listener.create_subscription(LabelInfo, 'ditta/label_info', after.append, latched_profile())
    ros.until(lambda: after and len(before) > 1)
    assert [item.class_name for item in after[0].class_map] == list(DRIVING.names)
    assert (stamp_of(after[0].header), after[0].header.frame_id) == (STAMP, 'camera')
    assert len(before) == 2


def test_a_parameter_overrides_the_qos(ros: Any) -> None:
    name = 'qos_overrides./ditta/segmentation.publisher.'
    node, _ = make_outputs(ros, parameter_overrides=[
        Parameter(f'{name}reliability', value='best_effort'),
        Parameter(f'{name}depth', value=2)])
    ros.until(lambda: all(node.count_publishers(f'/ditta/{topic}')
                          for topic in (*IMAGE_TOPICS, 'label_info')))
    profile = {topic: node.get_publishers_info_by_topic(f'/ditta/{topic}')[0].qos_profile
               for topic in (*IMAGE_TOPICS, 'label_info')}
    assert profile['segmentation'].reliability == ReliabilityPolicy.BEST_EFFORT
    assert profile['overlay'].reliability == ReliabilityPolicy.RELIABLE
    assert profile['label_info'].durability == DurabilityPolicy.TRANSIENT_LOCAL


def test_they_can_be_made_again(ros: Any) -> None:
    node, outputs = make_outputs(ros)
    topics = [f'/ditta/{topic}' for topic in (*IMAGE_TOPICS, 'label_info')]
    outputs.destroy()
    node.trigger_deactivate()
    node.trigger_cleanup()
    ros.until(lambda: not any(map(node.count_publishers, topics)))
    outputs = Outputs(node, DRIVING)
    node.trigger_configure()
    node.trigger_activate()
    listener = Listener(ros, 'segmentation')
    publish_until(ros, outputs, make_result(), lambda: listener.got['segmentation'])
    ros.until(lambda: [node.count_publishers(topic) for topic in topics] == [1] * 4)
