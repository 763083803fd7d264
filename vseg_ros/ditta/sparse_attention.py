"""
Window attention from some places only, with queries and keys made on demand.

Only tiles (see `window_tiles.py`) with a wanted place are computed, only wanted places get a query
and only what lies in their windows gets a key. Tiles are worked on in the order of how many places
are wanted of them, so that those which run together have about as many queries each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vseg_ros.ditta.window_tiles import Tiling, hiding_bias

Tokens = Callable[[Tensor], Tensor]

_QUERY_STEP = 4
"""Queries a tile are rounded up to a multiple: a product of a new shape has to be prepared."""


def window_attention_where(wanted: Tensor, query: Tokens, key: Tokens, value: Tensor,
                           radius: int) -> Tensor:
    """
    Attend as `window_attention` does, but only from wanted places.

    Args:
        wanted: bool [h, w].
        query: called once with places (int64 [n], y * w + x), gives their queries, [n, D].
        key: the same for keys, in the number format of the queries.
        value: float [C, h, w], in any number format.
        radius: of the window, at least 0.

    Returns:
        the shape and dtype of `value`, zero where nothing is wanted. Not differentiable.

    Raises:
        ValueError: `wanted` and `value` differ in size.

    """
    if value.dim() != 3 or wanted.shape != value.shape[1:]:
        raise ValueError(f'wanted {list(wanted.shape)} is not [h, w] of value '
                         f'{list(value.shape)}, [C, h, w]')
    attended = torch.zeros_like(value.flatten(1))
    if wanted.any():
        tiling = Tiling(value.shape[1], value.shape[2], radius)
        asked = _asked_tiles(wanted, tiling)
        around, visible = _halo_places(asked.corners, tiling)
        kept = _within_reach(wanted, radius).flatten()
        # A key that no wanted place reaches has no row; its number is read, but always masked.
        row = (kept.cumsum(0) - 1).clamp_min_(0)
        kept_places = kept.nonzero().squeeze(1)
        values = value.flatten(1).index_select(1, kept_places).T.contiguous()
        tiles = _attend_tiles(query(asked.places), key(kept_places), values, asked, row[around],
                              visible, tiling)
        attended.index_copy_(1, asked.places, tiles.T.to(attended.dtype))
    return attended.view_as(value)


@dataclass(frozen=True)
class _AskedTiles:
    """
    The n tiles with a wanted place, those with most of them first.

    Attributes:
        places: int64 [m], the wanted places, tile by tile.
        counts: int64 [n], how many of them each tile has; descending.
        inside: int64 [n, t * t], where in its tile each of them lies; beyond the count, the rest.
        corners: int64 [n, 2], the tiles' first row and column.

    """

    places: Tensor
    counts: Tensor
    inside: Tensor
    corners: Tensor


def _asked_tiles(wanted: Tensor, tiling: Tiling) -> _AskedTiles:
    """Sort wanted places, bool [h, w], by tile."""
    marks = tiling.tiles(tiling.pad(wanted[None, ..., None]))[0].flatten(2).flatten(0, 1)
    counts, order = marks.sum(-1).sort(descending=True, stable=True)
    order = order[:int(counts.count_nonzero())]
    asked = marks[order]
    first = torch.stack((order // tiling.columns, order % tiling.columns), 1) * tiling.tile
    inside = (~asked).to(torch.uint8).argsort(dim=1, stable=True)
    tile, place = asked.nonzero(as_tuple=True)
    rows = first[tile, 0] + place // tiling.tile
    columns = first[tile, 1] + place % tiling.tile
    return _AskedTiles(rows * tiling.width + columns, counts[:len(order)], inside, first)


def _within_reach(wanted: Tensor, radius: int) -> Tensor:
    """Bool [h, w]: places in the window of a wanted place."""
    side = 2 * radius + 1
    rows = F.max_pool2d(wanted[None].float(), (1, side), stride=1, padding=(0, radius))
    return F.max_pool2d(rows, (side, 1), stride=1, padding=(radius, 0))[0] > 0


def _halo_places(corners: Tensor, tiling: Tiling) -> tuple[Tensor, Tensor]:
    """Places of halos, int64 [n, s * s], clamped to the map; and bool, which were inside it."""
    steps = torch.arange(tiling.halo, device=corners.device) - tiling.radius
    y, x = corners[:, :1] + steps, corners[:, 1:] + steps
    y_in, x_in = y.clamp(0, tiling.height - 1), x.clamp(0, tiling.width - 1)
    inside = (y == y_in)[:, :, None] & (x == x_in)[:, None]
    return (y_in[:, :, None] * tiling.width + x_in[:, None]).flatten(1), inside.flatten(1)


def _attend_tiles(queries: Tensor, keys: Tensor, values: Tensor, asked: _AskedTiles,
                  around: Tensor, visible: Tensor, tiling: Tiling) -> Tensor:
    """Attend from queries [m, D] to rows `around`, [n, s * s], of keys and values: [m, C]."""
    window = tiling.outside_window(queries)
    together = tiling.together(keys, keys.shape[-1] + values.shape[-1])
    counts = asked.counts.tolist()
    ends = asked.counts.cumsum(0)
    slots = torch.arange(tiling.tile ** 2, device=queries.device)
    parts = []
    for first in range(0, len(counts), together):
        tiles = slice(first, first + together)
        most = min(-(-counts[first] // _QUERY_STEP) * _QUERY_STEP, tiling.tile ** 2)
        rows = (ends - asked.counts)[tiles, None] + slots[:most]
        q, k, v = (x.index_select(0, index.flatten()).view(*index.shape, -1) for x, index in (
            (queries, rows.clamp_max(len(queries) - 1)), (keys, around[tiles]),
            (values, around[tiles])))
        scores = window.index_select(0, asked.inside[tiles, :most].flatten()).view(
            *rows.shape, -1)
        if not visible[tiles].all():
            scores += hiding_bias(visible[tiles], queries)[:, None]
        weights = scores.baddbmm_(q, k.transpose(1, 2)).softmax(-1)
        found = torch.bmm(weights.to(v.dtype), v)
        parts.append(found[slots[:most] < asked.counts[tiles, None]])
    return torch.cat(parts)
