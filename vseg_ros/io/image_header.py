"""
Width and height of a JPEG or PNG file, read from its header alone.

A few hundred bytes may claim a picture of gigapixels, and a decoder believes them: it takes
gigabytes and many seconds before it finds that there is no picture. So the claim is read first.
"""

from __future__ import annotations

import struct

MAX_PIXELS = 1 << 26
"""Largest picture that is decoded, 67 million pixels: far above any camera of a robot."""

# Start-of-frame markers; C4, C8 and CC in their midst mean something else.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def claimed_size(data: bytes) -> tuple[int, int] | None:
    """
    Read what size a file claims to have.

    Args:
        data: the beginning of a JPEG or PNG file.

    Returns:
        height and width in pixels; None if the header does not say, as in a damaged file.

    """
    if data.startswith(b'\x89PNG\r\n\x1a\n') and len(data) >= 24:
        width, height = struct.unpack('>II', data[16:24])
        return height, width
    return _jpeg_size(data) if data.startswith(b'\xff\xd8') else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walk from segment to segment to the start of the frame."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack('>HH', data[place + 5:place + 9])
            return height, width
        if marker == 0xFF:  # a filler before a marker
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2:place + 4], 'big')
    return None
