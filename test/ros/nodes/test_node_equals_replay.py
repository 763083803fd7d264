"""A node's labels are those that `vseg replay` writes for the same bag, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import Image
from typer.testing import CliRunner

from vseg_ros.cli import app
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.message_types import TYPES, image_message
from vseg_ros.io.message_types import stamp_of as stamp_in_bag
from vseg_ros.io.street import SyntheticStreet
from vseg_ros.nodes.conversions import stamp_of
from vseg_ros.nodes.qos import output_profile

TOPICS = 'segmentation', 'confidence'
FRAMES = 14
SIZE = 96, 128
START = 1_700_000_000_000_000_000
# Offline the frame that ends the warm-up waits for the adaptation; so must it here.
PARAMETERS = {'precision': 'bfloat16', 'device': 'cpu', 'input_size': 96, 'seed': 3,
              'warmup.frames': 5, 'adaptation.passes': 2, 'adaptation.background': False,
              'prompts.min_reliability': 0.3}
# However busy the machine is, every image comes.
RELIABLE = {'qos_overrides./image.subscription.reliability': 'reliable'}


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A bag with a drive down the street."""
    path = tmp_path / 'drive.mcap'
    with BagWriter(path) as bag:
        for item in SyntheticStreet(2, FRAMES, SIZE):
            stamp = START + item.frame.stamp
            bag.write('/image', image_message(item.frame.image, 'rgb8', stamp, 'lens'), stamp)
    return path


def messages(bag: Path, topic: str) -> list[bytes]:
    """Return the messages of a topic as they are stored."""
    with AnyReader([bag], default_typestore=TYPES) as reader:
        return [bytes(data) for _, _, data in reader.messages(
            [each for each in reader.connections if each.topic == topic])]


def pixels(image: Any) -> Any:
    """Return the pixels of a message with one byte a pixel, uint8 [H, W]."""
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width)


def replayed(bag: Path, out: Path, pipeline: str,
             parameters: dict[str, Any]) -> dict[str, dict[int, Any]]:
    """Run `vseg replay`; return the pixels it writes, by topic and stamp."""
    values = [f'{name}={str(value).lower() if isinstance(value, bool) else value}'
              for name, value in parameters.items()]
    done = CliRunner().invoke(app, ['replay', str(bag), '--pipeline', pipeline, '--out', str(out),
                                    *(word for value in values for word in ('-p', value))])
    assert done.exit_code == 0, done.output
    return {topic: {stamp_in_bag(image): pixels(image) for image in (
        TYPES.deserialize_cdr(data, 'sensor_msgs/msg/Image')
        for data in messages(out, f'/vseg/{pipeline}/{topic}'))} for topic in TOPICS}


def listen(ros: Any, pipeline: str) -> dict[str, dict[int, Any]]:
    """Return the pixels that a node publishes, by topic and stamp, in dictionaries that grow."""
    heard: dict[str, dict[int, Any]] = {topic: {} for topic in TOPICS}
    viewer = ros.node('viewer')
    for topic, images in heard.items():
        viewer.create_subscription(
            Image, f'/{pipeline}/{topic}', lambda message, images=images: images.update(
                {stamp_of(message.header): pixels(message)}), output_profile())
    return heard


def require_equal(heard: dict[str, dict[int, Any]], expected: dict[str, dict[int, Any]]) -> None:
    for topic in TOPICS:
        assert len(expected[topic]) == FRAMES
        assert sorted(heard[topic]) == sorted(expected[topic])
        for stamp, image in heard[topic].items():
            np.testing.assert_array_equal(image, expected[topic][stamp], topic)
    labels = np.stack(list(heard['segmentation'].values()))
    assert len(np.unique(labels)) > 3, 'this is no flat picture'


def test_every_pixel_of_every_frame(start: Callable[..., Any], ears: Any, ros: Any, drive: Path,
                                    tmp_path: Path) -> None:
    # What is there before the node is known to it when it starts: no first image is lost.
    heard = listen(ros, 'ditta')
    publisher = ros.node('player').create_publisher(Image, '/image', output_profile())
    node = start(PARAMETERS | RELIABLE)
    node.transition('configure', 'activate')
    ros.until(lambda: publisher.get_subscription_count() and ears.state == 'WARMING_UP')
    for count, data in enumerate(messages(drive, '/image'), 1):
        publisher.publish(data)
        # None may be replaced by the next: each is answered first.
        ros.until(lambda count=count: all(len(each) == count for each in heard.values()), 60)
    ros.until(lambda: ears.state == 'FROZEN')
    assert ears.statuses[-1].message == ''

    require_equal(heard, replayed(drive, tmp_path / 'out.mcap', 'ditta', PARAMETERS))


@pytest.mark.parametrize('mode', ['sliding', 'clips'])
def test_every_pixel_of_every_clip(new_time2general: Callable[..., Any], ros: Any, drive: Path,
                                   tmp_path: Path, tiny_time2general: Path, mode: str) -> None:
    heard = listen(ros, 'time2general')
    publisher = ros.node('player').create_publisher(Image, '/image', output_profile())
    node = new_time2general({'mode': mode} | RELIABLE)
    node.trigger_configure()
    node.trigger_activate()
    ros.until(lambda: publisher.get_subscription_count())
    for count, data in enumerate(messages(drive, '/image'), 1):
        publisher.publish(data)
        # None may be replaced by the next: each is answered, or in sight, first.
        waiting = 0 if mode == 'sliding' else count % 3
        ros.until(lambda count=count, waiting=waiting: all(
            len(each) == count - waiting for each in heard.values())
            and (not waiting or len(node.pipeline._window.frames) == waiting), 60)
    # The last clip does not fill: it is answered when no frame follows.
    ros.until(lambda: all(len(each) == FRAMES for each in heard.values()))
    require_equal(heard, replayed(drive, tmp_path / 'out.mcap', 'time2general', {
        'weights': tiny_time2general, 'precision': 'bfloat16', 'device': 'cpu', 'input_size': 96,
        'mode': mode}))
