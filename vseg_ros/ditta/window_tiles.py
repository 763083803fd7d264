"""
How window attention is cut into small matrix products.

The queries are cut into square tiles. All windows of a tile lie in its *halo*, the tile grown by
the radius on every side, so that a tile is: queries x halo keys, masked to the windows, softmax,
x halo values. Maps are channels last, [B, h, w, D].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

# Working memory of one step. On a CPU it should stay in the cache, on a GPU fill the device.
_CPU_BYTES = 4 << 20
_GPU_BYTES = 512 << 20


@dataclass(frozen=True)
class Tiling:
    """
    The tiles of an h x w map.

    Attributes:
        height: h.
        width: w.
        radius: of the window.

    """

    height: int
    width: int
    radius: int

    @property
    def tile(self) -> int:
        """Side of a tile: small enough that few products fall outside a window."""
        return self.radius + 1

    @property
    def halo(self) -> int:
        """Side of a tile's halo."""
        return self.tile + 2 * self.radius

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.tile)

    @property
    def columns(self) -> int:
        """Columns of tiles."""
        return -(-self.width // self.tile)

    def pad(self, maps: Tensor, margin: int = 0) -> Tensor:
        """Grow to whole tiles, and by `margin` on every side, with zeros; may return `maps`."""
        below = self.rows * self.tile - self.height + margin
        right = self.columns * self.tile - self.width + margin
        amounts = (0, 0, margin, right, margin, below)
        return F.pad(maps, amounts) if any(amounts) else maps

    def padded_shape(self, maps: Tensor, margin: int = 0) -> tuple[int, int, int, int]:
        """Shape of what `pad` returns."""
        return (len(maps), self.rows * self.tile + 2 * margin,
                self.columns * self.tile + 2 * margin, maps.shape[-1])

    def tiles(self, padded: Tensor) -> Tensor:
        """View [B, rows * t, columns * t, D] as [B, rows, columns, t, t, D]."""
        shape = (len(padded), self.rows, self.tile, self.columns, self.tile, padded.shape[-1])
        return padded.view(shape).transpose(2, 3)

    def halos(self, padded: Tensor) -> Tensor:
        """View a map padded by the radius as its overlapping halos [B, rows, columns, s, s, D]."""
        windows = padded.unfold(1, self.halo, self.tile).unfold(2, self.halo, self.tile)
        return windows.permute(0, 1, 2, 4, 5, 3)

    def together(self, like: Tensor, depth: int) -> int:
        """Count the tiles to work on at once; keys and values have `depth` channels in all."""
        cells = self.halo ** 2 * (depth + 2 * self.tile ** 2)
        budget = _GPU_BYTES if like.is_cuda else _CPU_BYTES
        return max(1, budget // (cells * like.element_size()))

    def outside_window(self, like: Tensor) -> Tensor:
        """Bias [t * t, s * s] that hides the halo's keys outside a query's window."""
        inside = torch.arange(self.tile, device=like.device)[:, None]
        reached = torch.arange(self.halo, device=like.device) - self.radius
        near = (inside - reached).abs() <= self.radius
        both = near[:, None, :, None] & near[None, :, None, :]
        return hiding_bias(both.reshape(self.tile ** 2, self.halo ** 2), like)

    def outside_map(self, like: Tensor) -> Tensor:
        """Bias [rows, columns, s, s, 1] that hides keys beyond the border."""
        inside = like.new_ones(1, self.height, self.width, 1)
        return hiding_bias(self.halos(self.pad(inside, self.radius))[0] > 0, like)


def common_dtype(*maps: Tensor) -> torch.dtype:
    """Return the number format that holds the values of every map."""
    return reduce(torch.promote_types, (x.dtype for x in maps))


def hiding_bias(visible: Tensor, like: Tensor) -> Tensor:
    """
    Turn a bool mask into a summand of the scores.

    Two of them may be added without overflow, and a query whose keys are all hidden (padding)
    stays finite.
    """
    hidden = torch.finfo(like.dtype).min / 2
    return torch.zeros_like(visible, dtype=like.dtype).masked_fill_(~visible, hidden)


def window_weights(queries: Tensor, keys: Tensor, outside_window: Tensor, outside_map: Tensor,
                   ) -> Tensor:
    """
    Softmax over the windows of n tiles.

    Args:
        queries: [n, t * t, D].
        keys: of the halos, [n, s * s, D].
        outside_window: bias of `Tiling.outside_window`, [t * t, s * s].
        outside_map: bias of the keys beyond the border, [n, s * s].

    Returns:
        [n, t * t, s * s].

    """
    scores = torch.bmm(queries, keys.transpose(1, 2))
    scores += outside_window
    scores += outside_map[:, None]
    return scores.softmax(-1)
