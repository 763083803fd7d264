"""
The vision tower of VideoChat-Flash: UMT-L, a plain vision transformer over four frames at a time.

Li et al., *Unmasked Teacher: Towards Training-Efficient Video Foundation Models*. The patches of a
group of frames attend to each other in space and time; the last block is left out, and a LayerNorm
follows. The sines and cosines of the positions were made for 4 frames of 14 x 14 patches and are
resized for larger images; an image alone has the positions of the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP = 4
"""Frames that attend to each other."""

TRAINED_GRID = 14
"""Patches a side that the positions were made for."""

BLOCK_EPSILON, LAST_EPSILON = 1e-6, 1e-12


@dataclass(frozen=True)
class VisionSize:
    """
    Size of a tower; the default is the released one.

    Attributes:
        side: of a square frame in pixels.
        patch: side of a patch in pixels.
        width: C.
        blocks: number of transformer blocks that are run.
        heads: of the attention.

    """

    side: int = 448
    patch: int = 16
    width: int = 1024
    blocks: int = 23
    heads: int = 16

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.side // self.patch


class UmtVisionTower(nn.Module):
    """Encode groups of `GROUP` frames, or single images."""

    positions: Tensor

    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.size = size
        self.patches = nn.Conv2d(3, size.width, size.patch, stride=size.patch)
        self.blocks = nn.ModuleList(Block(size.width, size.heads) for _ in range(size.blocks))
        self.norm = nn.LayerNorm(size.width, eps=LAST_EPSILON)
        self.register_buffer('positions', position_table(size), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """
        Encode frames.

        Args:
            pixels: float [G, T, 3, side, side], T = `GROUP` or 1.

        Returns:
            float [G, T x grid x grid, C].

        """
        groups, frames = pixels.shape[:2]
        patches = self.patches(pixels.flatten(0, 1)).flatten(2).transpose(1, 2)
        tokens = patches.reshape(groups, -1, self.size.width)
        tokens = tokens + self.positions[:frames].flatten(0, 1).to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed


class Block(nn.Module):
    """A transformer block with the norms first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=BLOCK_EPSILON)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=BLOCK_EPSILON)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                 nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend, then transform each token, float [G, N, C]."""
        batch, number, width = tokens.shape
        parts = self.qkv(self.norm1(tokens)).reshape(batch, number, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(attended.transpose(1, 2).reshape(batch, number, width))
        transformed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return transformed


def position_table(size: VisionSize) -> Tensor:
    """
    Encode the places of the patches in a group of frames.

    Returns:
        float32 [GROUP, grid x grid, C].

    """
    places = np.arange(GROUP * TRAINED_GRID ** 2)[:, None]
    channels = np.arange(size.width)
    angles = places / np.power(10000, 2 * (channels // 2) / size.width)
    waves = np.where(channels % 2 == 0, np.sin(angles), np.cos(angles))
    table = torch.tensor(waves, dtype=torch.float32)
    maps = table.reshape(GROUP, TRAINED_GRID, TRAINED_GRID, -1).permute(0, 3, 1, 2)
    if size.grid != TRAINED_GRID:
        maps = F.interpolate(maps, size=(size.grid, size.grid), mode='bicubic',
                             align_corners=False)
    return maps.flatten(2).transpose(1, 2).contiguous()
