"""
Window attention as one kernel for a GPU, without gradients.

FlexAttention (Dong et al., 2024; part of torch) compiles attention with a mask that is a function
of two places into one fused kernel, and skips blocks of 128 queries by 128 keys that are masked as
a whole. Places are therefore put in the order of tiles of 8 x 16: a block of queries then meets
only the few tiles around its own. Scores are never stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from vseg_ros.failure import first_line

logger = logging.getLogger(__name__)

_TILE_HEIGHT, _TILE_WIDTH = 8, 16
_BLOCK = _TILE_HEIGHT * _TILE_WIDTH
_LEAST_DEPTH = 16
"""Channels of the narrowest map that a kernel takes; all are powers of two."""

_refused: list[str] = []


def fused_window_attention(query: Tensor, key: Tensor, value: Tensor, radius: int, *,
                           compiled: bool = True) -> Tensor:
    """
    Compute `window_attention`.

    Args:
        query: float [B, D, h, w], in the number format of the products.
        key: same shape and number format.
        value: float [B, C, h, w]; in float32 the products are, too.
        radius: of the window, at least 0.
        compiled: whether torch makes one kernel of it; otherwise all scores are stored.

    Returns:
        the shape and dtype of `value`.

    """
    height, width = query.shape[-2:]
    dtype = torch.promote_types(query.dtype, value.dtype)
    tokens = (_to_tiles(x.to(dtype)) for x in (query, key, value))
    attend: Any = _compiled() if compiled else flex_attention
    attended: Tensor = attend(*tokens, block_mask=_window(height, width, radius, query.device),
                              scale=1.0)
    return _from_tiles(attended, value.shape[1], height, width).to(value.dtype)


def try_fused(query: Tensor, key: Tensor, value: Tensor, radius: int) -> Tensor | None:
    """
    Compute `window_attention` in one kernel if there is one for this GPU.

    The arguments are those of `fused_window_attention`. A first failure, such as a compiler that
    is not installed, is logged, and no kernel is tried again.
    """
    if _refused or not query.is_cuda:
        return None
    try:
        return fused_window_attention(query, key, value, radius)
    # a compiler has exceptions of its own for whatever it lacks, and no base for them
    except Exception as error:
        first = first_line(error)
        _refused.append(first)
        logger.warning('no fused attention on this GPU (%s): it runs in tiles', first)
        return None


@cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention, dynamic=False)


@lru_cache(maxsize=8)
def _window(height: int, width: int, radius: int, device: torch.device) -> BlockMask:
    """Mask of the windows over places in the order of `_to_tiles`."""
    columns = -(-width // _TILE_WIDTH)
    count = -(-height // _TILE_HEIGHT) * columns * _BLOCK

    def seen(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        (y, x), (v, u) = (_place(index, columns) for index in (query, key))
        near = ((v - y).abs() <= radius) & ((u - x).abs() <= radius)
        return near & (v < height) & (u < width)

    return create_block_mask(seen, None, None, count, count, device=device, BLOCK_SIZE=_BLOCK)


def _place(index: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Row and column of the n-th place in the order of tiles."""
    tile, inside = index // _BLOCK, index % _BLOCK
    return (tile // columns * _TILE_HEIGHT + inside // _TILE_WIDTH,
            tile % columns * _TILE_WIDTH + inside % _TILE_WIDTH)


def _to_tiles(maps: Tensor) -> Tensor:
    """Lay [B, D, h, w] out as [B, 1, places, depth], with zeros where there is nothing."""
    batch, depth, height, width = maps.shape
    wanted = max(_LEAST_DEPTH, 1 << (depth - 1).bit_length())
    padded = F.pad(maps.permute(0, 2, 3, 1), (0, wanted - depth, 0, -width % _TILE_WIDTH,
                                              0, -height % _TILE_HEIGHT))
    rows, columns = -(-height // _TILE_HEIGHT), -(-width // _TILE_WIDTH)
    tiles = padded.reshape(batch, rows, _TILE_HEIGHT, columns, _TILE_WIDTH, wanted)
    return tiles.transpose(2, 3).reshape(batch, 1, -1, wanted)


def _from_tiles(tokens: Tensor, depth: int, height: int, width: int) -> Tensor:
    """Undo `_to_tiles`: [B, 1, places, depth or more] to [B, depth, h, w]."""
    rows, columns = -(-height // _TILE_HEIGHT), -(-width // _TILE_WIDTH)
    tiles = tokens[:, 0, :, :depth].view(len(tokens), rows, columns, _TILE_HEIGHT, _TILE_WIDTH,
                                         depth)
    maps = tiles.transpose(2, 3).reshape(len(tokens), rows * _TILE_HEIGHT, -1, depth)
    return maps[:, :height, :width].permute(0, 3, 1, 2).contiguous()
