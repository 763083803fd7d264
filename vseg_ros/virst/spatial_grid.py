"""
S_down of STF: SAM 2's features of a frame as a small grid of tokens.

Convolutions of stride 2 shrink the features, 64x64 at full size, to a coarse grid whose cells are
the tokens that both fusions attend to. Each fusion has a grid of its own.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SpatialGrid(nn.Module):
    """
    Shrinks the features of frames to G x G tokens each.

    `steps` convolutions 3x3 of stride 2, or a single one 1x1 if `steps` is 0, each followed by
    ReLU; then layer normalisation of every cell.

    Args:
        channels: C, of the features.
        width: of the tokens.
        grid: G, rows and columns that must come out.
        steps: number of convolutions; each halves the size, rounding up.

    Raises:
        ValueError: `grid` or `steps` is out of range.

    """

    def __init__(self, channels: int, width: int, grid: int, steps: int = 3) -> None:
        super().__init__()
        if grid < 1 or steps < 0:
            raise ValueError(f'a grid of {grid} cells after {steps} steps does not exist: '
                             'give a grid of at least 1 and at least 0 steps')
        self.grid = grid
        self.steps = steps
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width if step else channels, width, 3, stride=2, padding=1)
            for step in range(steps)) if steps else nn.ModuleList([nn.Conv2d(channels, width, 1)])
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """
        Make tokens of frames, each on its own.

        Args:
            features: float [B, T, C, h, w].

        Returns:
            float [B, T, G * G, width], row by row.

        Raises:
            ValueError: the features do not give a grid of G x G.

        """
        self._check_size(features.shape[-2], features.shape[-1])
        cells = features.flatten(0, 1)
        for convolution in self.convolutions:
            cells = F.relu(convolution(cells))
        tokens: Tensor = self.norm(cells.flatten(2).transpose(1, 2))
        return tokens.reshape(*features.shape[:2], *tokens.shape[1:])

    def _check_size(self, height: int, width: int) -> None:
        """Raise ValueError unless features of this size give the grid."""
        rows, columns = (-(-size // 2 ** self.steps) for size in (height, width))
        if (rows, columns) != (self.grid, self.grid):
            raise ValueError(
                f'features of {height}x{width} give a grid of {rows}x{columns} after {self.steps} '
                f'steps, not {self.grid}x{self.grid}: change the size of the image, or make the '
                'grid for features of this size')
