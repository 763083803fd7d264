"""
Which places of a map the tiles of window attention (see `window_tiles.py`) and their halos read.

Places beyond the border are clamped onto the map, and named, so that a softmax can hide them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vseg_ros.ditta.window_tiles import Tiling


class TilePlaces(NamedTuple):
    """
    Which places of an h x w map the n tiles read; a place is y * w + x.

    Attributes:
        queries: int64 [n, t * t], the tiles' own places.
        halos: int64 [n, s * s], those of their halos.
        visible: bool [n, s * s], whether a place of a halo is on the map.
        answers: int64 [h * w], for every place its row among the n * t * t queries.

    """

    queries: Tensor
    halos: Tensor
    visible: Tensor
    answers: Tensor


def tile_places(height: int, width: int, radius: int) -> TilePlaces:
    """List what each tile of a map reads; while a graph is traced, the sides may be symbols."""
    side = Tiling(height, width, radius).tile
    # no negative number may be divided: ONNX rounds towards zero, Python and torch downwards
    rows, columns = (height + side - 1) // side, (width + side - 1) // side
    queries, _ = _grid(_reach(rows, side, 0), _reach(columns, side, 0), height, width)
    halos, visible = _grid(_reach(rows, side, radius), _reach(columns, side, radius),
                           height, width)
    y, x = torch.arange(height)[:, None], torch.arange(width)
    tile = (y // side) * columns + x // side
    answers = tile * side ** 2 + (y % side) * side + x % side
    return TilePlaces(queries, halos, visible, answers.flatten())


def _reach(tiles: int, side: int, margin: int) -> Tensor:
    """Rows (or columns) that each row of tiles reads, int64 [tiles, side + 2 * margin]."""
    return torch.arange(tiles)[:, None] * side + torch.arange(-margin, side + margin)


def _grid(rows: Tensor, columns: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Places [tiles, a * a] for rows and columns of tiles, clamped; and which were on the map."""
    y, x = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    places = y[:, None, :, None] * width + x[None, :, None, :]
    visible = (y == rows)[:, None, :, None] & (x == columns)[None, :, None, :]
    return places.flatten(0, 1).flatten(1), visible.flatten(0, 1).flatten(1)
