"""
3-D rotary embedding of STF's second fusion: time, row and column turn the features of a head.

The features of a head are taken in neighbouring pairs, and each pair is turned in its plane by an
angle. A third of the pairs, rounded down, turns with the time, the next third with the row y, the
next with the column x; pairs that are left over stay as they are. The i-th of an axis' P pairs
turns at position p by

    p / 10000^(i / P)

Keys, the cells of the frames, are turned by all three axes; queries belong to a frame, not to a
place in it, and are turned by time only. Their product then depends on the distance in time, and
on the absolute row and column. Angles are computed anew for every call: they are few, and nothing
has to grow with the video.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10000.0
"""How much slower the pair after an axis' last would turn than its first."""
AXES = 3


def pairs_per_axis(width: int) -> int:
    """
    Return the number of pairs of features that turn with each axis.

    Args:
        width: number of features of a head.

    Raises:
        ValueError: they do not pair up, or there are fewer pairs than axes.

    """
    if width % 2 or width // 2 < AXES:
        raise ValueError(f'a head of {width} features cannot carry time, row and column: '
                         f'it needs an even number, {2 * AXES} or more')
    return width // 2 // AXES


def axis_angles(positions: Tensor, pairs: int) -> Tensor:
    """
    Angles of one axis.

    Args:
        positions: float [S].
        pairs: P, number of pairs that turn with the axis.

    Returns:
        float [S, P] in rad.

    """
    steps = torch.arange(pairs, device=positions.device, dtype=positions.dtype)
    return positions[:, None] / BASE ** (steps / pairs)


def memory_angles(frames: int, grid: int, width: int, like: Tensor) -> Tensor:
    """
    Angles of the cells of T frames, frame by frame and row by row.

    Args:
        frames: T.
        grid: G, rows and columns of a frame.
        width: d, features of a head.
        like: a tensor whose device, and whose precision if it exceeds float32, is to be used.

    Returns:
        float [T * G * G, d / 2] in rad.

    Raises:
        ValueError: the head cannot carry three axes.

    """
    pairs = pairs_per_axis(width)
    time, cell = _positions(frames, like), _positions(grid, like)
    shape = (frames, grid, grid, pairs)
    axes = (axis_angles(time, pairs)[:, None, None].expand(shape),
            axis_angles(cell, pairs)[:, None].expand(shape),
            axis_angles(cell, pairs).expand(shape))
    still = time.new_zeros(frames, grid, grid, width // 2 - AXES * pairs)
    return torch.cat((*axes, still), -1).flatten(0, 2)


def query_angles(frames: int, width: int, like: Tensor) -> Tensor:
    """
    Angles of a query of each of T frames: by time only.

    Args:
        frames: T.
        width: d, features of a head.
        like: a tensor whose device, and whose precision if it exceeds float32, is to be used.

    Returns:
        float [T, d / 2] in rad.

    Raises:
        ValueError: the head cannot carry three axes.

    """
    pairs = pairs_per_axis(width)
    time = _positions(frames, like)
    still = time.new_zeros(frames, width // 2 - pairs)
    return torch.cat((axis_angles(time, pairs), still), 1)


def rotate(features: Tensor, angles: Tensor) -> Tensor:
    """
    Turn each pair of neighbouring features by its angle.

    Args:
        features: float [..., S, d].
        angles: float [S, d / 2] in rad; the rotation is computed in their precision.

    Returns:
        [..., S, d], of the dtype of `features`.

    """
    exact = features.to(angles.dtype)
    first, second = exact[..., 0::2], exact[..., 1::2]
    cosine, sine = angles.cos(), angles.sin()
    turned = torch.stack((first * cosine - second * sine, first * sine + second * cosine), -1)
    return turned.flatten(-2).to(features.dtype)


def _positions(count: int, like: Tensor) -> Tensor:
    """0, 1, ... on the device of a tensor, in float32 or better."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return torch.arange(count, device=like.device, dtype=dtype)
