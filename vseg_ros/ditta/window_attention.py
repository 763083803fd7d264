"""
Attention from each place of one map to the window around the same place of another.

A few tiles (see `window_tiles.py`) run at a time: cost is linear in the pixels, and beside
the maps themselves memory is bounded. For the backward pass the weights of the windows are kept,
as many numbers a place as a halo has cells: 256 for a radius of 5. On a GPU one kernel does it all
where no gradient is wanted (see `fused_attention.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from vseg_ros.ditta.fused_attention import try_fused
from vseg_ros.ditta.window_tiles import Tiling, common_dtype, window_weights


def window_attention(query: Tensor, key: Tensor, value: Tensor, radius: int) -> Tensor:
    """
    Attend to the square window around each place, clipped at the border.

    `out[y, x]` is the sum of `value[v, u]` weighted by the softmax of `query[y, x] . key[v, u]`
    (not divided by the square root of D) over `|v - y| <= radius` and `|u - x| <= radius`.

    Args:
        query: float [B, D, h, w] or [D, h, w].
        key: same shape.
        value: float [B, C, h, w] or [C, h, w], the same h and w.
        radius: of the window, at least 0; the window is 2 * radius + 1 wide.

    Returns:
        the shape and dtype of `value`; differentiable once in all three maps.

    Raises:
        ValueError: shapes that do not fit, or a negative radius.

    """
    _check(query, key, value, radius)
    if query.dim() == 3:
        return window_attention(query[None], key[None], value[None], radius)[0]
    if not (torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))):
        fused = try_fused(query, key, value, radius)
        if fused is not None:
            return fused
    dtype = common_dtype(query, key, value)
    maps = (x.to(dtype).permute(0, 2, 3, 1).contiguous() for x in (query, key, value))
    attended: Tensor = _WindowAttention.apply(  # type: ignore[no-untyped-call]
        *maps, radius)
    return attended.permute(0, 3, 1, 2).to(value.dtype).contiguous()


def _check(query: Tensor, key: Tensor, value: Tensor, radius: int) -> None:
    """Refuse maps that do not lie on one grid."""
    if (query.dim() not in (3, 4) or query.shape != key.shape or value.dim() != query.dim()
            or query.shape[-2:] != value.shape[-2:] or query.shape[:-3] != value.shape[:-3]):
        raise ValueError(f'query {list(query.shape)}, key {list(key.shape)} and value '
                         f'{list(value.shape)} are not [B, D, h, w] maps of one size')
    if radius < 0:
        raise ValueError(f'a window cannot have the radius {radius}')


def _steps(tiling: Tiling, maps: Tensor, depth: int) -> Iterator[tuple[int, slice, slice]]:
    """Batch item, rows and columns of tiles to work on together."""
    together = tiling.together(maps, depth)
    height, width = max(1, together // tiling.columns), min(together, tiling.columns)
    for item in range(len(maps)):
        for row in range(0, tiling.rows, height):
            for column in range(0, tiling.columns, width):
                yield item, slice(row, row + height), slice(column, column + width)


def _flat(tiles: Tensor) -> Tensor:
    """Copy [rows, columns, s, s, D] to [rows * columns, s * s, D]."""
    rows, columns, side, _, depth = tiles.shape
    return tiles.reshape(rows * columns, side * side, depth)


def _add_halos(target: Tensor, halos: Tensor, tiling: Tiling) -> None:
    """Add [rows * columns, s * s, D] into overlapping views [rows, columns, s, s, D]."""
    halos = halos.view(target.shape)
    # Halos that are `apart` tiles from each other do not overlap and are added in one go.
    apart = -(-tiling.halo // tiling.tile)
    for y in range(min(apart, target.shape[0])):
        for x in range(min(apart, target.shape[1])):
            target[y::apart, x::apart] += halos[y::apart, x::apart]


class _WindowAttention(torch.autograd.Function):
    """Dense attention of [B, h, w, D] maps that keeps its inputs and the weights of tiles."""

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor,
                radius: int) -> Tensor:
        """Return [B, h, w, C]."""
        tiling = Tiling(query.shape[1], query.shape[2], radius)
        kept = query.new_empty(0)
        if any(ctx.needs_input_grad):  # type: ignore[attr-defined]
            kept = query.new_empty(len(query), tiling.rows, tiling.columns, tiling.tile ** 2,
                                   tiling.halo ** 2)
        ctx.save_for_backward(query, key, value, kept)
        ctx.tiling = tiling  # type: ignore[attr-defined]
        queries = tiling.tiles(tiling.pad(query))
        keys, values = (tiling.halos(tiling.pad(x, radius)) for x in (key, value))
        window, border = tiling.outside_window(query), tiling.outside_map(query)
        padded = value.new_empty(tiling.padded_shape(value))
        attended = tiling.tiles(padded)
        for step in _steps(tiling, query, query.shape[-1] + value.shape[-1]):
            q, k, v = (_flat(x[step]) for x in (queries, keys, values))
            weights = window_weights(q, k, window, _flat(border[step[1:]]).squeeze(-1))
            if len(kept):
                kept[step] = weights.view_as(kept[step])
            part = attended[step]
            part.copy_(torch.bmm(weights, v).view_as(part))
        return padded[:, :tiling.height, :tiling.width]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Differentiate the attention, tile by tile."""
        query, key, value, kept = ctx.saved_tensors  # type: ignore[attr-defined]
        tiling: Tiling = ctx.tiling  # type: ignore[attr-defined]
        radius = tiling.radius
        queries, grads = (tiling.tiles(tiling.pad(x)) for x in (query, grad))
        keys, values = (tiling.halos(tiling.pad(x, radius)) for x in (key, value))
        # every cell of the queries' gradient is written once, those of the others are sums
        grad_query = query.new_empty(tiling.padded_shape(query))
        grad_key, grad_value = (x.new_zeros(tiling.padded_shape(x, radius)) for x in (key, value))
        grad_queries = tiling.tiles(grad_query)
        grad_keys, grad_values = (tiling.halos(x) for x in (grad_key, grad_value))
        for step in _steps(tiling, query, 2 * (query.shape[-1] + value.shape[-1])):
            q, k, v, g = (_flat(x[step]) for x in (queries, keys, values, grads))
            weights = kept[step].flatten(0, 1)
            _add_halos(grad_values[step], torch.bmm(weights.transpose(1, 2), g), tiling)
            slope = torch.bmm(g, v.transpose(1, 2))
            slope -= (slope * weights).sum(-1, keepdim=True)
            slope *= weights
            part = grad_queries[step]
            part.copy_(torch.bmm(slope, k).view_as(part))
            _add_halos(grad_keys[step], torch.bmm(slope.transpose(1, 2), q), tiling)
        inside = (slice(None), slice(radius, radius + tiling.height),
                  slice(radius, radius + tiling.width))
        return (grad_query[:, :tiling.height, :tiling.width], grad_key[inside],
                grad_value[inside], None)
