from __future__ import annotations

import cv2
import numpy as np
import pytest

from vseg_ros.errors import UserError
from vseg_ros.io.image_message import (
    SUPPORTED_ENCODINGS,
    decode_compressed,
    decode_image,
    decode_labels,
    encode_image,
)

HEIGHT, WIDTH = 8, 12
COLOR = (200, 100, 40)
RNG = np.random.default_rng(0)


def flat(color=COLOR) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), color, np.uint8)


def mosaic(pattern: str) -> np.ndarray:
    """A one-colour picture seen through a Bayer filter whose first 2x2 block is `pattern`."""
    channel = dict(zip('rgb', COLOR, strict=True))
    block = np.array([channel[letter] for letter in pattern], np.uint8).reshape(2, 2)
    return np.tile(block, (HEIGHT // 2, WIDTH // 2))


def yuv(color=COLOR) -> tuple[int, int, int]:
    """BT.601 studio range, from the standard's own equations."""
    r, g, b = (value / 255 for value in color)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    return (round(16 + 219 * luma), round(128 + 224 * (b - luma) / 1.772),
            round(128 + 224 * (r - luma) / 1.402))


def packed(*order: int) -> np.ndarray:
    return np.tile(np.array(order, np.uint8), (HEIGHT, WIDTH // 2))


def planar(first: int, second: int) -> np.ndarray:
    chroma = np.tile(np.array([first, second], np.uint8), (HEIGHT // 2, WIDTH // 2))
    return np.vstack([np.full((HEIGHT, WIDTH), yuv()[0], np.uint8), chroma])


def rows_of(encoding: str) -> np.ndarray:
    """The bytes of a one-colour picture, uint8 [rows, row bytes]."""
    y, u, v = yuv()
    rgb, alpha = flat(), np.full((HEIGHT, WIDTH, 1), 7, np.uint8)
    bgr = rgb[..., ::-1]
    rows = {
        'rgb8': rgb, 'bgr8': bgr, '8UC3': bgr,
        'rgba8': np.concatenate([rgb, alpha], -1), 'bgra8': np.concatenate([bgr, alpha], -1),
        '8UC4': np.concatenate([bgr, alpha], -1),
        'mono8': rgb[..., 0], '8UC1': rgb[..., 0],
        'mono16': np.full((HEIGHT, WIDTH), 200 * 257, '<u2').view(np.uint8),
        'yuv422': packed(u, y, v, y), 'uyvy': packed(u, y, v, y),
        'yuv422_yuy2': packed(y, u, y, v), 'yuyv': packed(y, u, y, v),
        'nv12': planar(u, v), 'nv21': planar(v, u),
    }
    if encoding.startswith('bayer'):
        return mosaic(encoding[6:10])
    array = rows[encoding]
    return np.ascontiguousarray(array).reshape(array.shape[0], -1)


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', SUPPORTED_ENCODINGS)
def test_every_encoding_becomes_rgb_with_and_without_row_padding(encoding, padding):
    rows = rows_of(encoding)
    step = rows.shape[1] + padding
    data = np.full((len(rows), step), 99, np.uint8)
    data[:, :rows.shape[1]] = rows
    image = decode_image(encoding, HEIGHT, WIDTH, step, 0, data.tobytes())
    grey = encoding in ('mono8', '8UC1', 'mono16')
    expected = flat((200, 200, 200)) if grey else flat()
    assert image.dtype == np.uint8
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - expected).max() <= (
        2 if 'yuv' in encoding or encoding[:2] in ('nv', 'uy', 'yu') else 0)


def test_rgb8_is_a_view_of_the_message_and_keeps_rows_and_columns():
    data = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    image = decode_image('rgb8', HEIGHT, WIDTH, WIDTH * 3, 0, data.reshape(-1))
    assert np.array_equal(image, data)
    assert np.shares_memory(image, data)
    bgr = decode_image('bgr8', HEIGHT, WIDTH, WIDTH * 3, 0, data.tobytes())
    assert np.array_equal(bgr, data[..., ::-1])


def test_mono16_is_scaled_over_its_whole_range_in_both_byte_orders():
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    for order, flag in (('<u2', 0), ('>u2', 1)):
        image = decode_image('mono16', 1, 4, 8, flag, values.astype(order).tobytes())
        assert image[0, :, 1].tolist() == [0, 1, 128, 255]


def test_labels_are_never_scaled():
    ids = np.array([[0, 300, 65535]], np.uint16)
    for order, flag in (('<u2', 0), ('>u2', 1)):
        assert np.array_equal(
            decode_labels('mono16', 1, 3, 6, flag, ids.astype(order).tobytes()), ids)
    assert decode_labels('8UC1', 1, 2, 4, 0, bytes([3, 255, 9, 9])).tolist() == [[3, 255]]
    with pytest.raises(UserError, match=r"label image cannot have the encoding 'rgb8'.*mono8"):
        decode_labels('rgb8', 1, 1, 3, 0, bytes(3))


@pytest.mark.parametrize(('fields', 'message'), [
    (('32FC1', 2, 2, 8, 0, bytes(16)), "encoding '32FC1' is not supported.*rgb8, bgr8.*nv21"),
    (('rgb8', 2, 4, 11, 0, bytes(22)), 'step of the rgb8 image is 11, but a row takes 12'),
    (('rgb8', 2, 4, 12, 0, bytes(23)), 'holds 23 bytes, but 2 rows of 12 bytes are 24'),
    (('rgb8', 2, 4, 12, 0, bytes(25)), 'holds 25 bytes'),
    (('rgb8', 0, 4, 12, 0, b''), 'zero size'),
    (('mono8', 4, 0, 0, 0, b''), 'zero size'),
    (('nv12', 3, 4, 4, 0, bytes(18)), 'nv12 image cannot be 4x3'),
    (('yuyv', 2, 3, 6, 0, bytes(12)), 'yuyv image cannot be 3x2'),
    (('bayer_rggb8', 3, 4, 4, 0, bytes(12)), 'bayer_rggb8 image cannot be 4x3'),
    (('rgb8', 2**31, 2**31, 2**32 - 1, 0, bytes(3)), 'rgb8 image'),
])
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        decode_image(*fields)


def picture() -> np.ndarray:
    rows, columns = np.mgrid[:40, :60]
    return np.stack([rows * 6, columns * 4, rows + columns], -1).astype(np.uint8)


@pytest.mark.parametrize(('suffix', 'tolerance'), [('.jpg', 12), ('.png', 0)])
def test_compressed_images_are_rgb(suffix, tolerance):
    _, data = cv2.imencode(suffix, picture()[..., ::-1])
    image = decode_compressed('rgb8; compressed bgr8', data.tobytes() + bytes(7))
    assert np.abs(image.astype(int) - picture()).max() <= tolerance


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('zeros', [1, 63, 64, 4096, 1_000_000])
def test_zeros_that_a_camera_pads_with_are_no_damage(suffix, zeros):
    file = cv2.imencode(suffix, picture())[1].tobytes()
    assert np.array_equal(decode_compressed('jpeg', file + bytes(zeros)),
                          decode_compressed('jpeg', file))
    with pytest.raises(UserError, match='damaged or cut short'):
        decode_compressed('jpeg', file[:-20] + bytes(zeros))
    with pytest.raises(UserError, match='damaged or cut short'):
        decode_compressed('jpeg', file[:4] + bytes(zeros))


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_truncated_compressed_images_are_refused_at_every_length(suffix):
    data = cv2.imencode(suffix, picture())[1].tobytes()
    for length in (*range(0, len(data) - 12, 17), len(data) - 9):
        with pytest.raises(UserError, match=r'damaged or cut short|neither JPEG nor PNG'):
            decode_compressed('jpeg', data[:length])


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_a_cut_is_found_even_if_opencv_fills_it_with_grey(monkeypatch, suffix):
    data = cv2.imencode(suffix, picture())[1].tobytes()
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: picture())
    decode_compressed('', data)
    with pytest.raises(UserError, match='damaged or cut short'):
        decode_compressed('', data[:-20])


@pytest.mark.parametrize(('encoding', 'array'), [
    ('rgb8', RNG.integers(0, 256, (4, 6, 3), np.uint8)),
    ('mono8', RNG.integers(0, 256, (4, 6), np.uint8)),
    ('mono16', RNG.integers(0, 65536, (4, 6), np.uint16)),
])
def test_encoding_and_decoding_is_the_identity(encoding, array):
    fields = encode_image(array, encoding)
    decode = decode_image if encoding == 'rgb8' else decode_labels
    assert fields.step * fields.height == fields.data.size
    assert np.shares_memory(fields.data, array)
    assert np.array_equal(
        decode(encoding, fields.height, fields.width, fields.step, 0, fields.data), array)
    # A part of an array has gaps between its rows.
    part = encode_image(array[:, 1:4], encoding)
    assert np.array_equal(decode(encoding, 4, 3, part.step, 0, part.data), array[:, 1:4])


def test_an_array_that_does_not_fit_its_encoding_is_a_defect():
    with pytest.raises(ValueError, match='no mono8 image'):
        encode_image(np.zeros((2, 2), np.uint16), 'mono8')
    with pytest.raises(ValueError, match='no rgb8 image'):
        encode_image(np.zeros((2, 2, 4), np.uint8), 'rgb8')
