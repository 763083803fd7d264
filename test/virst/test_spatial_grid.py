"""The grid of tokens against convolutions written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vseg_ros.virst.spatial_grid import SpatialGrid

CHANNELS, WIDTH = 3, 4


def make(grid: int, steps: int) -> SpatialGrid:
    torch.manual_seed(0)
    module = SpatialGrid(CHANNELS, WIDTH, grid, steps).double()
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.3 * torch.randn_like(value))
    return module


def literal_cell(frame: Tensor, weight: Tensor, bias: Tensor, y: int, x: int) -> Tensor:
    """One output of a convolution, centred on a pixel, zeros outside, then ReLU."""
    total = bias.clone()
    reach = weight.shape[2] // 2
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if 0 <= y + dy < frame.shape[1] and 0 <= x + dx < frame.shape[2]:
                total += weight[:, :, dy + reach, dx + reach] @ frame[:, y + dy, x + dx]
    return total.clamp(min=0)


def literal_tokens(module: SpatialGrid, frame: Tensor) -> Tensor:
    stride = 2 if module.steps else 1
    for layer in module.convolutions:
        assert isinstance(layer, nn.Conv2d)
        frame = torch.stack([
            torch.stack([literal_cell(frame, layer.weight, layer.bias, y, x)
                         for x in range(0, frame.shape[2], stride)], 1)
            for y in range(0, frame.shape[1], stride)], 1)
    rows = []
    for row in frame.flatten(1).T:
        centred = row - row.mean()
        scaled = centred / torch.sqrt((centred ** 2).mean() + module.norm.eps)
        rows.append(scaled * module.norm.weight + module.norm.bias)
    return torch.stack(rows)


@pytest.mark.parametrize(('height', 'width', 'grid', 'steps'), [
    (16, 16, 2, 3), (9, 11, 2, 3), (8, 7, 2, 2), (5, 6, 3, 1), (4, 4, 4, 0)])
@torch.no_grad()
def test_tokens_are_convolved_rectified_and_normalised(height: int, width: int, grid: int,
                                                       steps: int) -> None:
    module = make(grid, steps)
    features = torch.randn(2, 3, CHANNELS, height, width, dtype=torch.float64)
    tokens = module(features)
    assert tokens.shape == (2, 3, grid * grid, WIDTH)
    for found, frame in zip(tokens.flatten(0, 1), features.flatten(0, 1), strict=True):
        torch.testing.assert_close(found, literal_tokens(module, frame))


def test_each_frame_stands_alone() -> None:
    module = make(2, 2)
    features = torch.randn(2, 4, CHANNELS, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(module(features)[:, 2:3], module(features[:, 2:3]))


def test_full_size_is_eight_by_eight() -> None:
    assert SpatialGrid(2, 3, 8)(torch.zeros(1, 1, 2, 64, 64)).shape == (1, 1, 64, 3)


@pytest.mark.parametrize(('height', 'width', 'steps', 'grid'), [
    (64, 32, 3, '8x4'), (65, 64, 3, '9x8'), (16, 16, 0, '16x16')])
def test_features_of_another_size_are_refused(height: int, width: int, steps: int,
                                              grid: str) -> None:
    with pytest.raises(ValueError, match=f'features of {height}x{width} give a grid of {grid} '
                                         f'after {steps} steps, not 8x8'):
        SpatialGrid(2, 3, 8, steps)(torch.zeros(1, 1, 2, height, width))


@pytest.mark.parametrize(('grid', 'steps'), [(0, 3), (8, -1)])
def test_grids_that_cannot_be_are_refused(grid: int, steps: int) -> None:
    with pytest.raises(ValueError, match='does not exist'):
        SpatialGrid(2, 3, grid, steps)
