"""Image messages and image files of any content: decoded, or refused in one line."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vseg_ros.io.image_folder import ImageFolder, read_image, read_labels
from vseg_ros.io.image_message import (
    SUPPORTED_ENCODINGS,
    decode_compressed,
    decode_image,
    decode_labels,
)

VALUES, FILES = settings.get_profile('values'), settings.get_profile('files')
Damaged = Callable[[st.DataObject, bytes], bytes]
Refusal = Callable[[Callable[[], object]], str]
SIDES = st.integers(0, 40) | st.integers(0, 2**32 - 1)


@st.composite
def message_fields(draw: st.DrawFn) -> tuple[str, int, int, int, int, bytes]:
    """Fields of an image that fit each other more often than chance would have it."""
    encoding = draw(st.sampled_from((*SUPPORTED_ENCODINGS, '16UC1', '32FC1'))
                    | st.text(max_size=9))
    height, width = draw(SIDES), draw(SIDES)
    step = draw(st.sampled_from([factor * width + more for factor in (1, 2, 3, 4)
                                 for more in (0, 1, 5)]) | st.integers(0, 2**32 - 1))
    fitting = min(height * step, 100_000)
    length = draw(st.sampled_from((fitting, min(fitting * 3 // 2, 100_000), max(0, fitting - 1)))
                  | st.integers(0, 1000))
    return encoding, height, width, step, draw(st.integers(0, 255)), bytes(length)


@VALUES
@given(fields=message_fields())
def test_image_message(refusal: Refusal, fields: tuple[str, int, int, int, int, bytes]) -> None:
    images: list[np.ndarray] = []
    if not refusal(lambda: images.append(decode_image(*fields))):
        assert (images[0].shape, images[0].dtype) == ((fields[1], fields[2], 3), np.uint8)
    labels: list[np.ndarray] = []
    if not refusal(lambda: labels.append(decode_labels(*fields))):
        assert labels[0].shape == fields[1:3]
        assert labels[0].dtype in (np.uint8, np.uint16)


@VALUES
@given(encoding=st.sampled_from(SUPPORTED_ENCODINGS), half=st.tuples(st.integers(1, 12),
       st.integers(1, 12)), padding=st.integers(0, 9), noise=st.randoms(use_true_random=False))
def test_no_byte_beyond_the_message_is_read(encoding: str, half: tuple[int, int], padding: int,
                                            noise: object) -> None:
    """The same picture comes out whatever lies around it in memory, and in its padding."""
    height, width = 2 * half[0], 2 * half[1]
    row = {'rgb8': 3, 'bgr8': 3, '8UC3': 3, 'rgba8': 4, 'bgra8': 4, '8UC4': 4, 'mono16': 2,
           'yuv422': 2, 'uyvy': 2, 'yuv422_yuy2': 2, 'yuyv': 2}.get(encoding, 1) * width
    rows = height * 3 // 2 if encoding.startswith('nv') else height
    pixels = np.frombuffer(noise.randbytes(rows * row), np.uint8)  # type: ignore[attr-defined]
    decoded = []
    for around in (0, 255):
        message = np.full((rows, row + padding), around, np.uint8)
        message[:, :row] = pixels.reshape(rows, row)
        memory = np.full(message.size + 200, around, np.uint8)
        memory[100:-100] = message.reshape(-1)
        decoded.append(decode_image(encoding, height, width, row + padding, 0, memory[100:-100]))
    assert np.array_equal(*decoded)


def encoded(suffix: str) -> bytes:
    rows, columns = np.mgrid[:40, :60]
    image = np.stack([rows * 6, columns * 4, rows + columns], -1).astype(np.uint8)
    return bytes(cv2.imencode(suffix, image)[1].tobytes())


@FILES
@given(suffix=st.sampled_from(('.jpg', '.png')), data=st.data(),
       format=st.text(max_size=20))
def test_compressed_image_message(refusal: Refusal, damaged: Damaged, suffix: str,
                                  data: st.DataObject, format: str) -> None:
    file = damaged(data, encoded(suffix))
    refusal(lambda: decode_compressed(format, file))


@VALUES
@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_image(refusal: Refusal, data: bytes) -> None:
    for start in (b'', b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'):
        refusal(lambda start=start: decode_compressed('jpeg', start + data))  # type: ignore[misc]


@FILES
@given(suffix=st.sampled_from(('.jpg', '.png', '.bmp', '.tiff', '.webp')),
       data=st.data())
def test_image_and_label_files(tmp_path: Path, refusal: Refusal, damaged: Damaged, suffix: str,
                               data: st.DataObject) -> None:
    path = tmp_path / f'image{suffix}'
    path.write_bytes(damaged(data, encoded(suffix)))
    for reader in (read_image, read_labels):
        message = refusal(lambda reader=reader: reader(path))  # type: ignore[misc]
        assert not message or str(path) in message


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG file of a few hundred bytes, whole but for the pixels it claims."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (struct.pack('>I', len(data)) + kind + data
                + struct.pack('>I', zlib.crc32(kind + data)))
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
            + chunk(b'IDAT', zlib.compress(bytes((3 * min(width, 10_000) + 1) * 2_000)))
            + chunk(b'IEND', b''))


@pytest.mark.parametrize('side', [20_000, 30_000, 2**31 - 1])
def test_image_file_that_claims_gigapixels(tmp_path: Path, refusal: Refusal, side: int) -> None:
    path = tmp_path / 'image.png'
    path.write_bytes(png_that_claims(side, side))
    for reader in (read_image, read_labels):
        message = refusal(lambda reader=reader: reader(path))  # type: ignore[misc]
        assert f'{path} claims to be {side}x{side}' in message
    assert refusal(lambda: decode_compressed('png', path.read_bytes()))


@FILES
@given(data=st.data(), place=st.integers(0, 5),
       which=st.sampled_from(('images', 'labels')))
def test_folder_with_a_damaged_file(picture_folder: Path, refusal: Refusal, damaged: Damaged,
                                    data: st.DataObject, place: int, which: str) -> None:
    path = picture_folder.parent / which / f'{place}.png'
    whole = path.read_bytes()
    path.write_bytes(damaged(data, whole))
    try:
        message = refusal(lambda: list(ImageFolder(picture_folder,
                                                   picture_folder.parent / 'labels')))
    finally:
        path.write_bytes(whole)
    assert not message or f'{place}.png' in message
