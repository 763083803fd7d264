"""A result bag whose pipeline saw other pictures than the input bag holds."""

from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.frame import Frame, Segmentation
from vseg_ros.io.bag_file import BagFile
from vseg_ros.io.bag_source import BagSource
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.message_types import (
    COMPRESSED_IMAGE,
    IMAGE,
    LATCHED,
    TYPES,
    image_message,
    jpeg_message,
    stamp_of,
)
from vseg_ros.io.result_bag import ResultBag
from vseg_ros.labels import DRIVING


def make_drive(path, build):
    """Five images received 50 ns after their stamp, and label images beside them."""
    with BagWriter(path) as bag:
        for index in range(5):
            image = np.full((16, 24, 3), 20 + index * 9, np.uint8)
            stamp = 1000 + index * 100
            bag.write('/cam/image', build(image, stamp), stamp + 50, LATCHED)
            labels = image_message(image[..., 0] % 15, 'mono8', stamp, 'lens')
            bag.write('/cam/labels', labels, stamp + 60)
    return path


def altered(frame):
    """A picture that no copy of the original can be taken for."""
    image = np.zeros_like(frame.image)
    image[:, 12:] = 255 - frame.image[:, 12:]
    return Frame(image, frame.stamp, frame.frame_id)


def replay(source, out, seen):
    with ResultBag.open(out, 'iss', source, altered=True) as bag:
        for frame in seen:
            labels = np.zeros(frame.size, np.uint8)
            confidence = np.ones(frame.size, np.float32)
            bag.write(frame, Segmentation(labels, confidence, DRIVING, frame.stamp, 'lens'))


def on(path, topic):
    with BagFile(path) as bag:
        return [(m.log_time, m.connection, TYPES.deserialize_cdr(m.data, m.connection.msgtype))
                for m in bag.messages() if m.connection.topic == topic]


@pytest.mark.parametrize(('kind', 'build', 'error'), [
    (IMAGE, lambda image, stamp: image_message(image, 'rgb8', stamp, 'lens'), 0),
    (COMPRESSED_IMAGE, lambda image, stamp: jpeg_message(image, stamp, 'lens'), 3)])
@pytest.mark.parametrize('name', ['out.mcap', 'out.db3', 'out'])
def test_what_the_pipeline_saw_replaces_the_camera(tmp_path, kind, build, error, name):
    source = BagSource(make_drive(tmp_path / 'in.mcap', build))
    seen = [altered(item.frame) for item in source]
    out = tmp_path / name
    replay(source, out, seen)
    found = on(out, '/cam/image')
    assert [(time, stamp_of(m), m.header.frame_id) for time, _, m in found] == [
        (1050 + i * 100, 1000 + i * 100, 'lens') for i in range(5)]
    original = on(source.path, '/cam/image')[0][1]
    assert {connection.msgtype for _, connection, _ in found} == {kind}
    assert found[0][1].ext == original.ext
    again = [item.frame for item in BagSource(out, '/cam/image')]
    for frame, expected in zip(again, seen, strict=True):
        assert np.abs(frame.image.astype(int) - expected.image).mean() <= error
    with BagFile(source.path) as before, BagFile(out) as after:
        labels = [[(m.log_time, bytes(m.data)) for m in bag.messages()
                   if m.connection.topic == '/cam/labels'] for bag in (before, after)]
    assert labels[0] == labels[1]


def test_images_nobody_segmented_are_left_out(tmp_path):
    """They would be in clear sight amid the fog."""
    source = BagSource(make_drive(
        tmp_path / 'in.mcap', lambda image, stamp: image_message(image, 'rgb8', stamp, 'lens')))
    seen = [altered(item.frame) for item in source]
    out = tmp_path / 'out.mcap'
    replay(source, out, [seen[1], seen[3]])
    assert [stamp_of(m) for _, _, m in on(out, '/cam/image')] == [1100, 1300]
    assert len(on(out, '/cam/labels')) == 5


def test_a_stamp_of_zero_stays_zero(tmp_path, write_bag):
    image = image_message(np.zeros((4, 4, 3), np.uint8), 'rgb8', 0, 'lens')
    source = BagSource(write_bag(tmp_path / 'in.mcap', [('/cam', image, 50), ('/cam', image, 60)]))
    replay(source, tmp_path / 'out.mcap', [altered(item.frame) for item in source])
    assert [(time, stamp_of(m)) for time, _, m in on(tmp_path / 'out.mcap', '/cam')] == [
        (50, 0), (60, 0)]
