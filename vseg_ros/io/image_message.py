"""
The pixels of sensor_msgs/Image and CompressedImage, without ROS.

An `Image` is a block of rows `step` bytes apart. `_ENCODINGS` says for each encoding how many
bytes a pixel takes in a row and how the rows become RGB; everything else (padding, lengths,
sizes) is the same for all. Encodings are those of sensor_msgs/image_encodings.h; like cv_bridge,
8UC3 and 8UC4 are read in OpenCV's order, blue first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.errors import UserError
from vseg_ros.frame import BoolArray, LabelArray, UInt8Array
from vseg_ros.io.image_header import MAX_PIXELS, claimed_size

ImageBytes = bytes | bytearray | memoryview | UInt8Array


@dataclass(frozen=True)
class _Encoding:
    """Bytes a pixel, what height and width are a multiple of, and the way to RGB."""

    pixel_bytes: int
    to_rgb: Callable[[UInt8Array], UInt8Array]
    multiple: tuple[int, int] = (1, 1)
    half_rows: int = 2


def _cv(code: int) -> Callable[[UInt8Array], UInt8Array]:
    """Return OpenCV's colour conversion `code` as a function."""
    def convert(pixels: UInt8Array) -> UInt8Array:
        return np.asarray(cv2.cvtColor(pixels, code), np.uint8)
    return convert


def _bayer(code: int) -> _Encoding:
    return _Encoding(1, _cv(code), multiple=(2, 2))


_MONO = _Encoding(1, _cv(cv2.COLOR_GRAY2RGB))
_BGR = _Encoding(3, _cv(cv2.COLOR_BGR2RGB))
_BGRA = _Encoding(4, _cv(cv2.COLOR_BGRA2RGB))
_UYVY = _Encoding(2, _cv(cv2.COLOR_YUV2RGB_UYVY), multiple=(1, 2))
_YUYV = _Encoding(2, _cv(cv2.COLOR_YUV2RGB_YUY2), multiple=(1, 2))
_ENCODINGS = {
    'rgb8': _Encoding(3, np.ascontiguousarray),
    'bgr8': _BGR,
    'rgba8': _Encoding(4, _cv(cv2.COLOR_RGBA2RGB)),
    'bgra8': _BGRA,
    'mono8': _MONO,
    'mono16': _Encoding(2, _MONO.to_rgb),
    '8UC1': _MONO,
    '8UC3': _BGR,
    '8UC4': _BGRA,
    # OpenCV names a mosaic by its second row, ROS by its first.
    'bayer_rggb8': _bayer(cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': _bayer(cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': _bayer(cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': _bayer(cv2.COLOR_BayerGB2RGB),
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUYV,
    'yuyv': _YUYV,
    'nv12': _Encoding(1, _cv(cv2.COLOR_YUV2RGB_NV12), multiple=(2, 2), half_rows=3),
    'nv21': _Encoding(1, _cv(cv2.COLOR_YUV2RGB_NV21), multiple=(2, 2), half_rows=3),
}
SUPPORTED_ENCODINGS = tuple(_ENCODINGS)

_LABEL_BYTES = {'mono8': 1, '8UC1': 1, 'mono16': 2, '16UC1': 2}


def _rows(encoding: str, rows: int, row_bytes: int, step: int, data: ImageBytes) -> UInt8Array:
    """Return a view uint8 [rows, row_bytes] of `data` without its row padding."""
    if rows <= 0 or row_bytes <= 0:
        raise UserError(f'the {encoding} image has zero size: check its height and width')
    if step < row_bytes:
        raise UserError(f'the step of the {encoding} image is {step}, but a row takes {row_bytes} '
                        'bytes: the publisher sets step wrong')
    flat = np.frombuffer(data, np.uint8)
    if flat.size != rows * step:
        raise UserError(f'the {encoding} image holds {flat.size} bytes, but {rows} rows of '
                        f'{step} bytes are {rows * step}: it is damaged or cut short')
    return flat.reshape(rows, step)[:, :row_bytes]


def _two_bytes(rows: UInt8Array, is_bigendian: int | bool) -> NDArray[np.uint16]:
    """Read uint8 [H, 2W] as uint16 [H, W] in this machine's byte order."""
    # An odd step would leave every other row unaligned, which OpenCV reads wrong.
    return np.require(rows.view('>u2' if is_bigendian else '<u2'), np.uint16, ['C', 'A'])


def decode_image(encoding: str, height: int, width: int, step: int, is_bigendian: int | bool,
                 data: ImageBytes) -> UInt8Array:
    """
    Decode the fields of a sensor_msgs/Image.

    Args:
        encoding: one of `SUPPORTED_ENCODINGS`.
        height: rows of the picture.
        width: columns of the picture.
        step: bytes from one row to the next; more than a row takes is padding.
        is_bigendian: byte order of mono16.
        data: `step` bytes a row (nv12 and nv21: height * 3/2 rows).

    Returns:
        uint8 [height, width, 3], RGB, C-contiguous; for rgb8 without padding a view of `data`.
        Grey is repeated; mono16 is scaled from 0..65535 to 0..255, the same for every frame.

    Raises:
        UserError: encoding unsupported, zero or impossible size, `step` smaller than a row, or
            `data` of another length.

    """
    layout = _ENCODINGS.get(encoding)
    if layout is None:
        raise UserError(f'the image encoding {encoding!r} is not supported: publish one of '
                        f'{", ".join(SUPPORTED_ENCODINGS)}')
    if height % layout.multiple[0] or width % layout.multiple[1]:
        raise UserError(f'a {encoding} image cannot be {width}x{height}: its width must be a '
                        f'multiple of {layout.multiple[1]} and its height of '
                        f'{layout.multiple[0]}')
    rows = _rows(encoding, height * layout.half_rows // 2, width * layout.pixel_bytes, step, data)
    if encoding == 'mono16':
        grey = cv2.convertScaleAbs(_two_bytes(rows, is_bigendian), alpha=255 / 65535)
        return layout.to_rgb(np.asarray(grey, np.uint8))
    if layout.pixel_bytes > 1:
        rows = rows.reshape(height, width, layout.pixel_bytes)
    return layout.to_rgb(rows)


def decode_labels(encoding: str, height: int, width: int, step: int, is_bigendian: int | bool,
                  data: ImageBytes) -> LabelArray:
    """
    Decode a label image: the ids as they are, never scaled.

    Args:
        encoding: mono8 or 8UC1, mono16 or 16UC1.
        height: rows of the picture.
        width: columns of the picture.
        step: bytes from one row to the next.
        is_bigendian: byte order of the 16-bit encodings.
        data: `step` bytes a row.

    Returns:
        uint8 or uint16 [height, width].

    Raises:
        UserError: as for `decode_image`.

    """
    size = _LABEL_BYTES.get(encoding)
    if size is None:
        raise UserError(f'a label image cannot have the encoding {encoding!r}: publish one of '
                        f'{", ".join(_LABEL_BYTES)}')
    rows = _rows(encoding, height, width * size, step, data)
    return np.ascontiguousarray(rows) if size == 1 else _two_bytes(rows, is_bigendian)


# First bytes, name, and what stands at the end of a whole file. Cameras may pad after it: a little
# of anything, or zeros up to a whole number of packets or to the size of their buffer.
_FILE_KINDS = ((b'\xff\xd8\xff', 'JPEG', b'\xff\xd9'), (b'\x89PNG', 'PNG', b'IEND'))
_TAIL = 64
_BLOCK = 4096


def file_kind(data: UInt8Array) -> tuple[str, bool]:
    """
    Tell what an image file is and whether its end is there.

    OpenCV before version 5 fills the missing part of a short JPEG with grey and says nothing.

    Args:
        data: the file, uint8 [N].

    Returns:
        JPEG, PNG or '' for anything else; and False if that file is cut short.

    """
    head = data[:4].tobytes()
    for start, name, end in _FILE_KINDS:
        if head.startswith(start):
            last = _length_without_zeros(data)
            return name, end in data[max(last - _TAIL, 0):last].tobytes()
    return '', True


def _length_without_zeros(data: UInt8Array) -> int:
    """Return how many bytes, uint8 [N], there are up to the last that is not zero."""
    for stop in range(data.size, 0, -_BLOCK):
        start = max(stop - _BLOCK, 0)
        filled = np.flatnonzero(data[start:stop])
        if filled.size:
            return start + int(filled[-1]) + 1
    return 0


def decode_compressed(format: str, data: ImageBytes) -> UInt8Array:
    """
    Decode the fields of a sensor_msgs/CompressedImage.

    Args:
        format: what the publisher says it is, such as `jpeg` or `rgb8; png compressed bgr8`;
            used in messages, since the bytes themselves tell JPEG from PNG.
        data: the JPEG or PNG file.

    Returns:
        uint8 [H, W, 3], RGB, C-contiguous; grey is repeated and 16 bits become 8.

    Raises:
        UserError: neither JPEG nor PNG, or damaged, or cut short, or larger than `MAX_PIXELS`.

    """
    buffer = np.frombuffer(data, np.uint8)
    name, whole = file_kind(buffer)
    if not name:
        raise UserError(f'the compressed image (format {format!r}) is neither JPEG nor PNG: '
                        'publish one of these')
    height, width = claimed_size(buffer.tobytes()) or (0, 0)
    if height * width > MAX_PIXELS:
        raise UserError(f'the {name} image claims to be {width}x{height}, more than '
                        f'{MAX_PIXELS >> 20} million pixels: it is damaged or no camera image')
    bgr = _decode(buffer) if whole else None
    if bgr is None:
        raise UserError(f'the {name} image is damaged or cut short ({buffer.size} bytes)')
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def _decode(file: UInt8Array) -> UInt8Array | None:
    try:
        decoded = cv2.imdecode(file, cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)


class EncodedImage(NamedTuple):
    """The fields of a sensor_msgs/Image, without padding; `data` is flat uint8, no copy."""

    encoding: str
    height: int
    width: int
    step: int
    data: UInt8Array


_ENCODED_AS = {'rgb8': (np.uint8, 3), 'mono8': (np.uint8, 2), 'mono16': (np.uint16, 2)}


def encode_image(array: NDArray[np.uint8] | NDArray[np.uint16], encoding: str) -> EncodedImage:
    """
    Lay an array out as a sensor_msgs/Image, little-endian.

    Args:
        array: uint8 [H, W, 3] RGB for rgb8, uint8 [H, W] for mono8, uint16 [H, W] for mono16.
        encoding: rgb8, mono8 or mono16.

    Raises:
        ValueError: array and encoding do not fit.

    """
    dtype, dimensions = _ENCODED_AS[encoding]
    if array.dtype != dtype or array.ndim != dimensions or array.shape[2:] not in ((), (3,)):
        raise ValueError(f'{array.dtype} {list(array.shape)} is no {encoding} image')
    rows = np.ascontiguousarray(array.astype(array.dtype.newbyteorder('<'), copy=False))
    data = rows.reshape(-1).view(np.uint8)
    height, width = array.shape[:2]
    return EncodedImage(encoding, height, width, data.size // height, data)


def mask_pixels(mask: BoolArray) -> UInt8Array:
    """Return a mask bool [H, W] as the pixels of a mono8 image: 255 for the object, else 0."""
    return np.ascontiguousarray(mask).view(np.uint8) * np.uint8(255)
