"""
Masks as COCO stores them: run lengths down the columns, and polygons.

A mask is read column by column; its runs are counted in turn, background first. The compressed
form keeps, from the fourth run on, the difference to the run two before, and writes each number
in groups of five bits, lowest first: a character is 48 plus the group, plus 32 if more groups
follow. The highest bit of the last group is the sign.

A polygon is drawn by the rule of COCO's own tools: its outline is walked on a grid five times
finer, and in each column the mask turns on or off at every crossing of the outline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vseg_ros.frame import BoolArray

Int64Array = NDArray[np.int64]
_FINER = 5


def decode_rle(rle: Mapping[str, Any]) -> BoolArray:
    """
    Decode a mask.

    Args:
        rle: `size`, height and width, and `counts`: the compressed runs as text or bytes, or the
            runs themselves as numbers.

    Returns:
        bool [H, W].

    Raises:
        ValueError: a key is missing, or the runs are damaged or do not fill the size.

    """
    try:
        height, width = (int(side) for side in rle['size'])
        counts = rle['counts']
        runs = (_unpack(counts) if isinstance(counts, (str, bytes))
                else np.asarray(counts, np.int64))
    except (KeyError, TypeError, UnicodeEncodeError) as error:
        raise ValueError(f'no run-length mask: {type(error).__name__} {error}') from error
    if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise ValueError(f'the runs do not fill a mask of {width}x{height}')
    return _fill(runs, height, width)


def encode_rle(mask: BoolArray) -> dict[str, Any]:
    """
    Encode a mask, bool [H, W].

    Returns:
        `size`, [H, W], and `counts`, the compressed runs as text; fit for JSON.

    """
    column_major = mask.ravel(order='F')
    turns = np.flatnonzero(column_major[1:] != column_major[:-1]) + 1
    start = [0, 0] if column_major.size and column_major[0] else [0]
    runs = np.diff([*start, *turns.tolist(), column_major.size])
    return {'size': list(mask.shape), 'counts': _pack(runs)}


def decode_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> BoolArray:
    """
    Draw polygons.

    Args:
        polygons: each x, y, x, y, ... in pixels, at least three corners.
        height: of the image.
        width: of the image.

    Returns:
        bool [H, W], True in any of the polygons.

    Raises:
        ValueError: a polygon has an odd number of coordinates, or too few.

    """
    mask = np.zeros((height, width), np.bool_)
    for polygon in polygons:
        corners = np.asarray(polygon, np.float64)
        if corners.ndim != 1 or len(corners) % 2 or len(corners) < 6:
            raise ValueError(f'a polygon has {corners.size} coordinates: x and y of three '
                             'corners or more are needed')
        mask |= _draw(corners.reshape(-1, 2), height, width)
    return mask


def _unpack(counts: str | bytes) -> Int64Array:
    text = counts.encode('ascii') if isinstance(counts, str) else counts
    groups = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(groups) or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        raise ValueError('the compressed runs are damaged')
    last = np.flatnonzero(groups & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > 7:
        raise ValueError('the compressed runs are damaged')
    place = np.arange(len(groups)) - np.repeat(first, lengths)
    numbers = np.add.reduceat((groups & 31) << (5 * place), first)
    numbers -= np.where(groups[last] & 16, 1 << (5 * lengths), 0)
    # From the fourth on, each number is a difference to the one two before.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _pack(runs: Int64Array) -> str:
    numbers = runs.copy()
    numbers[3:] -= runs[1:-2]
    text = bytearray()
    for number in numbers.tolist():
        more = True
        while more:
            group, number = number & 31, number >> 5
            more = number != (-1 if group & 16 else 0)
            text.append(48 + group + 32 * more)
    return text.decode('ascii')


def _fill(runs: Int64Array, height: int, width: int) -> BoolArray:
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def _draw(corners: NDArray[np.float64], height: int, width: int) -> BoolArray:
    outline = _outline((corners * _FINER + 0.5).astype(np.int64))
    steps = outline[1:, 0] != outline[:-1, 0]
    before, after = outline[:-1][steps], outline[1:][steps]
    column = (np.minimum(before[:, 0], after[:, 0]) + 0.5) / _FINER - 0.5
    seen = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    row = (np.minimum(before[:, 1], after[:, 1]) + 0.5) / _FINER - 0.5
    row = np.ceil(np.clip(row, 0, height)).astype(np.int64)
    crossings = column[seen].astype(np.int64) * height + row[seen]
    turns = np.bincount(crossings, minlength=height * width + 1)[:height * width]
    filled: BoolArray = np.cumsum(turns) % 2 == 1
    return filled.reshape(width, height).T


def _outline(corners: Int64Array) -> Int64Array:
    """Return the grid points, [N, 2], along the closed outline through whole-numbered corners."""
    pieces = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        length = np.abs(end - start)
        steep = int(length[0] < length[1])
        # The same points come of an edge in either direction: it is walked from its lower end.
        back = start[steep] > end[steep]
        lower, upper = (end, start) if back else (start, end)
        count = int(length[steep])
        walked = np.arange(count + 1)
        slope = (upper[1 - steep] - lower[1 - steep]) / count if count else 0.0
        points = np.empty((count + 1, 2), np.int64)
        points[:, steep] = lower[steep] + walked
        points[:, 1 - steep] = (lower[1 - steep] + slope * walked + 0.5).astype(np.int64)
        pieces.append(points[::-1] if back else points)
    return np.concatenate(pieces)
