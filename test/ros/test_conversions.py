"""ROS messages to frames, and segmentations to ROS messages."""

from __future__ import annotations

import array
import contextlib
import random
import string

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from vseg_ros.errors import UserError
from vseg_ros.io import message_types
from vseg_ros.labels import DRIVING
from vseg_ros.nodes.conversions import (
    confidence_pixels,
    frame_of,
    header_of,
    image_message,
    label_info_message,
    stamp_of,
)

STAMP = 1_700_000_000_123_456_789
HEADER = header_of(STAMP, 'camera')
NOISE = np.random.default_rng(0)
RGB = NOISE.integers(0, 256, (6, 8, 3), np.uint8)


def raw(encoding: str, pixels: np.ndarray, padding: int = 0, **changes: int) -> Image:
    """Make an image message; `padding` bytes follow each row, `changes` replace its fields."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)))
    fields = {'height': height, 'width': width, 'step': padded.shape[1], **changes}
    return Image(header=HEADER, encoding=encoding, data=array.array('B', padded.tobytes()),
                 **fields)


def test_stamp_and_frame_id_come_with_the_pixels() -> None:
    frame = frame_of(raw('rgb8', RGB))
    assert (frame.stamp, frame.frame_id) == (STAMP, 'camera')
    assert stamp_of(header_of(STAMP, 'camera')) == STAMP


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(('encoding', 'code'), [
    ('rgb8', None), ('bgr8', cv2.COLOR_RGB2BGR), ('rgba8', cv2.COLOR_RGB2RGBA),
    ('bgra8', cv2.COLOR_RGB2BGRA)])
def test_colours_and_padding(encoding: str, code: int | None, padding: int) -> None:
    pixels = RGB if code is None else cv2.cvtColor(RGB, code)
    np.testing.assert_array_equal(frame_of(raw(encoding, pixels, padding)).image, RGB)


def test_rgb8_is_not_copied() -> None:
    message = raw('rgb8', RGB)
    assert np.shares_memory(frame_of(message).image, np.frombuffer(message.data, np.uint8))


def test_a_png_is_read_exactly() -> None:
    _, data = cv2.imencode('.png', cv2.cvtColor(RGB, cv2.COLOR_RGB2BGR))
    message = CompressedImage(header=HEADER, format='png', data=data.tobytes())
    frame = frame_of(message)
    np.testing.assert_array_equal(frame.image, RGB)
    assert (frame.stamp, frame.frame_id) == (STAMP, 'camera')


@pytest.mark.parametrize(('message', 'says'), [
    (Image(), 'encoding'),
    (Image(encoding='rgb8'), 'zero size'),
    (raw('float128', RGB), "'float128' is not supported"),
    (raw('rgb8', RGB, step=23), 'step'),
    (raw('rgb8', RGB, height=7), 'cut short'),
    (raw('rgb8', RGB, width=2**32 - 1), 'step'),
    (raw('nv12', RGB, width=7), 'multiple'),
    (CompressedImage(), 'neither JPEG nor PNG'),
    (CompressedImage(format='jpeg', data=b'\xff\xd8\xff\xe0'), 'cut short')])
def test_a_bad_image_is_the_users_to_mend(message: Image | CompressedImage, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        frame_of(message)
    assert '\n' not in str(caught.value)


def test_random_fields_never_raise_anything_else() -> None:
    noise = random.Random(0)
    encodings = ['rgb8', 'bgra8', 'mono8', 'mono16', 'bayer_rggb8', 'yuyv', 'nv12', '8UC3']
    good = 0
    for _ in range(3000):
        encoding = noise.choice([*encodings, ''.join(noise.sample(string.printable, 4))])
        height, width, step = (noise.choice([0, 1, 2, 3, 4, 8, 2**32 - 1]) for _ in range(3))
        size = noise.choice([0, 1, height * step if height * step < 1000 else 7])
        message = Image(encoding=encoding, height=height, width=width, step=step,
                        is_bigendian=noise.randrange(256), data=bytes(size))
        with contextlib.suppress(UserError):
            good += frame_of(message).size == (height, width)
    assert good > 10


@pytest.mark.parametrize(('encoding', 'pixels'), [
    ('rgb8', RGB), ('mono8', RGB[..., 0]),
    ('mono16', NOISE.integers(0, 65536, (6, 8), np.uint16))])
def test_pixels_are_laid_out_as_the_encoding_says(encoding: str, pixels: np.ndarray) -> None:
    message = image_message(pixels, encoding, HEADER)
    assert (message.encoding, message.height, message.width) == (encoding, 6, 8)
    assert message.step == pixels.nbytes // 6
    assert message.is_bigendian == 0
    assert message.header == HEADER
    little = pixels.astype(pixels.dtype.newbyteorder('<'))
    assert bytes(message.data) == little.tobytes()


def test_pixels_that_are_not_contiguous() -> None:
    message = image_message(RGB[:, ::-1], 'rgb8', HEADER)
    assert bytes(message.data) == np.ascontiguousarray(RGB[:, ::-1]).tobytes()


def test_read_only_pixels() -> None:
    pixels = frame_of(raw('rgb8', RGB)).image
    assert bytes(image_message(pixels, 'rgb8', HEADER).data) == RGB.tobytes()


def test_pixels_that_do_not_fit_the_encoding() -> None:
    with pytest.raises(ValueError, match='no mono8 image'):
        image_message(RGB, 'mono8', HEADER)


def test_confidence_is_scaled_as_in_a_result_bag() -> None:
    confidence = np.linspace(-0.2, 1.2, 1001, dtype=np.float32)[None]
    expected = np.rint(np.clip(confidence, 0, 1) * np.float32(255)).astype(np.uint8)
    np.testing.assert_array_equal(confidence_pixels(confidence), expected)


def test_label_info_is_that_of_a_bag() -> None:
    message = label_info_message(DRIVING, HEADER)
    expected = message_types.label_info_message(DRIVING, STAMP, 'camera')
    assert [(item.class_id, item.class_name) for item in message.class_map] == [
        (item.class_id, item.class_name) for item in expected.class_map]
    assert message.threshold == expected.threshold
    assert message.header == HEADER
    assert message_types.label_set_of(message) == DRIVING
