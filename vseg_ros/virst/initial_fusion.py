"""
First fusion of STF: the [SEG] tokens look at the video before the language model reads them.

    F_Init = CrossAttn(E_ST, S_down)

E_ST are the embeddings of the [SEG] tokens, S_down the grid tokens of all sampled frames. What
is found is added to E_ST with a learned gate g that starts near zero, so that training begins
with tokens the language model knows:

    E_ST + g F_Init

As in the released code neither time nor place is marked here; queries and keys are normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vseg_ros.virst.spatial_grid import SpatialGrid

INITIAL_GATE = 0.1


class InitialFusion(nn.Module):
    """
    Tells the [SEG] tokens what the frames show.

    Args:
        features: C, channels of SAM 2's features.
        width: D, of the language model's embeddings; a multiple of `heads`.
        grid_width: of the grid tokens before they are brought to D.
        grid: G, rows and columns of the grid of a frame.
        steps: convolutions that lead to the grid.
        heads: of the attention.

    """

    def __init__(self, features: int, width: int, grid_width: int = 256, grid: int = 8,
                 steps: int = 3, heads: int = 8) -> None:
        super().__init__()
        self.grid = SpatialGrid(features, grid_width, grid, steps)
        self.projection = nn.Linear(grid_width, width)
        self.prompt_norm = nn.LayerNorm(width)
        self.memory_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.gate = nn.Parameter(torch.tensor(INITIAL_GATE))

    def forward(self, prompts: Tensor, features: Tensor) -> Tensor:
        """
        Fuse.

        Args:
            prompts: E_ST, float [B, N, D].
            features: SAM 2's features of the sampled frames, float [B, T, C, h, w].

        Returns:
            float [B, N, D], to stand in the place of E_ST.

        Raises:
            ValueError: the features do not give the grid.

        """
        return self.fuse(prompts, self.grid(features))

    def fuse(self, prompts: Tensor, tokens: Tensor) -> Tensor:
        """
        Fuse with grid tokens, which are each frame's own and can be kept between questions.

        Args:
            prompts: E_ST, float [B, N, D].
            tokens: S_down from `grid`, float [B, T, G * G, grid_width].

        Returns:
            float [B, N, D].

        """
        memory = self.memory_norm(self.projection(tokens.flatten(1, 2)))
        found, _ = self.attention(self.prompt_norm(prompts), memory, memory, need_weights=False)
        fused: Tensor = prompts + self.gate * found
        return fused
