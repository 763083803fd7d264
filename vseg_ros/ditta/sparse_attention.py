"""
Window attention from some places only, with queries and keys made on demand.

Only tiles (see `window_tiles.py`) with a wanted place are computed, only wanted places get a query
and only what lies in their windows gets a key.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vseg_ros.ditta.window_tiles import Tiling, hiding_bias, window_weights

Tokens = Callable[[Tensor], Tensor]


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
        asked, places, corners = _queries_of(wanted, tiling)
        around, visible = _halo_places(corners, tiling)
        kept = _within_reach(wanted, radius).flatten()
        # A key that no wanted place reaches has no row; its number is read, but always masked.
        row = (kept.cumsum(0) - 1).clamp_min_(0)
        kept_places = kept.nonzero().squeeze(1)
        projected = query(places)
        queries = projected.new_zeros(*asked.shape, projected.shape[-1])
        queries[asked] = projected
        values = value.flatten(1).index_select(1, kept_places).T.contiguous()
        tiles = _attend_tiles(queries, key(kept_places), values, row[around], visible, tiling)
        attended[:, places] = tiles[asked].T.to(attended.dtype)
    return attended.view_as(value)


def _queries_of(wanted: Tensor, tiling: Tiling) -> tuple[Tensor, Tensor, Tensor]:
    """
    Sort wanted places by tile.

    Returns:
        bool [n, t * t], which places of the n tiles with any are wanted; int64 [m], those places
        in the same order; int64 [n, 2], the tiles' first row and column.

    """
    marks = tiling.tiles(tiling.pad(wanted[None, ..., None]))[0].flatten(2)
    chosen = marks.any(-1)
    numbers = torch.arange(wanted.numel(), device=wanted.device).view(1, *wanted.shape, 1)
    asked = marks[chosen]
    places = tiling.tiles(tiling.pad(numbers))[0].flatten(2)[chosen][asked]
    return asked, places, chosen.nonzero() * tiling.tile


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


def _attend_tiles(queries: Tensor, keys: Tensor, values: Tensor, around: Tensor,
                  visible: Tensor, tiling: Tiling) -> Tensor:
    """Attend from [n, t*t, D] to rows `around` int64 [n, s*s] of keys and values: [n, t*t, C]."""
    window = tiling.outside_window(queries)
    together = tiling.together(keys, keys.shape[-1] + values.shape[-1])
    parts = []
    for first in range(0, len(queries), together):
        part = slice(first, first + together)
        shape = (*around[part].shape, -1)
        k, v = (x.index_select(0, around[part].flatten()).view(shape) for x in (keys, values))
        weights = window_weights(queries[part], k, window, hiding_bias(visible[part], queries))
        parts.append(torch.bmm(weights.to(v.dtype), v))
    return torch.cat(parts)
