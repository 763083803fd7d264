"""Sizes read from headers, against the files that OpenCV writes."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from vseg_ros.errors import UserError
from vseg_ros.io.image_header import claimed_size
from vseg_ros.io.image_message import decode_compressed

PICTURE = np.random.default_rng(0).integers(0, 256, (37, 51, 3)).astype(np.uint8)


def encoded(suffix: str, *flags: int) -> bytes:
    return bytes(cv2.imencode(suffix, PICTURE, flags)[1])


@pytest.mark.parametrize('file', [
    encoded('.png'), encoded('.jpg'), encoded('.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    encoded('.jpg', cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_size_is_that_of_the_picture(file: bytes) -> None:
    assert claimed_size(file) == (37, 51)


@pytest.mark.parametrize('file', [b'', b'\x89PNG', b'\xff\xd8', b'\xff\xd8\xff\xe0\x00', b'GIF89a',
                                  b'\xff\xd8' + b'\xff' * 40, encoded('.jpg')[:20]])
def test_a_damaged_header_says_nothing(file: bytes) -> None:
    assert claimed_size(file) is None


def enlarged(file: bytes, height: int, width: int) -> bytes:
    """The file with another claim in its header."""
    if file.startswith(b'\x89PNG'):
        return file[:16] + struct.pack('>II', width, height) + file[24:]
    place = file.index(b'\xff\xc0') + 5
    return file[:place] + struct.pack('>HH', height, width) + file[place + 4:]


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('side', [30_000, 60_000])
def test_a_claim_of_gigapixels_is_refused_at_once(suffix: str, side: int) -> None:
    with pytest.raises(UserError, match=f'claims to be {side}x{side}'):
        decode_compressed('jpeg', enlarged(encoded(suffix), side, side))
