"""The 3-D rotary embedding against rotations of complex numbers."""

from __future__ import annotations

import cmath

import pytest
import torch
from torch import Tensor

from vseg_ros.virst.rotary_embedding import (
    memory_angles,
    pairs_per_axis,
    query_angles,
    rotate,
)

EXACT = torch.zeros((), dtype=torch.float64)
WIDTHS = [6, 10, 16, 32]


def literal_turn(features: Tensor, positions: tuple[int, ...]) -> Tensor:
    """Turn one head's features by as many axes as positions are given, pair by pair."""
    pairs = len(features) // 2 // 3
    turned = features.clone()
    for axis, position in enumerate(positions):
        for i in range(pairs):
            place = 2 * (axis * pairs + i)
            number = complex(features[place], features[place + 1])
            number *= cmath.exp(1j * position * 10000 ** (-i / pairs))
            turned[place], turned[place + 1] = number.real, number.imag
    return turned


@pytest.mark.parametrize('width', WIDTHS)
def test_cells_turn_with_time_row_and_column(width: int) -> None:
    torch.manual_seed(0)
    frames, grid = 3, 4
    cells = torch.randn(2, 5, frames * grid * grid, width, dtype=torch.float64)
    found = rotate(cells, memory_angles(frames, grid, width, EXACT))
    found, cells = (x.view(2, 5, frames, grid, grid, width) for x in (found, cells))
    for t in range(frames):
        for y in range(grid):
            for x in range(grid):
                torch.testing.assert_close(found[1, 2, t, y, x],
                                           literal_turn(cells[1, 2, t, y, x], (t, y, x)))


@pytest.mark.parametrize('width', WIDTHS)
def test_queries_turn_with_time_alone(width: int) -> None:
    torch.manual_seed(0)
    queries = torch.randn(3, 7, width, dtype=torch.float64)
    found = rotate(queries, query_angles(7, width, EXACT))
    for t in range(7):
        torch.testing.assert_close(found[2, t], literal_turn(queries[2, t], (t,)))


def test_a_product_depends_on_the_distance_in_time() -> None:
    torch.manual_seed(0)
    frames, grid, width = 12, 2, 16
    query, key = torch.randn(2, width, dtype=torch.float64)
    asked = rotate(query.expand(frames, width), query_angles(frames, width, EXACT))
    keys = rotate(key.expand(frames * grid * grid, width),
                  memory_angles(frames, grid, width, EXACT)).view(frames, grid, grid, width)
    products = torch.einsum('qd,tyxd->qtyx', asked, keys)
    torch.testing.assert_close(products[2, 5], products[7, 10])
    torch.testing.assert_close(products[5, 2], products[11, 8])
    assert not torch.allclose(products[2, 5], products[5, 2])
    assert products[2, 5].unique().numel() == grid * grid


def test_length_is_kept_and_the_first_cell_does_not_turn() -> None:
    torch.manual_seed(0)
    cells = torch.randn(2 * 3 * 3, 32)
    found = rotate(cells, memory_angles(2, 3, 32, cells))
    torch.testing.assert_close(found.norm(dim=1), cells.norm(dim=1))
    torch.testing.assert_close(found[0], cells[0])


def test_half_precision_turns_by_exact_angles() -> None:
    torch.manual_seed(0)
    queries = torch.randn(500, 32).bfloat16()
    angles = query_angles(500, 32, queries)
    assert angles.dtype == torch.float32
    found = rotate(queries, angles)
    assert found.dtype == torch.bfloat16
    exact = rotate(queries.double(), query_angles(500, 32, EXACT))
    torch.testing.assert_close(found.double(), exact, rtol=2 ** -8, atol=2 ** -8)


def test_width_of_a_head() -> None:
    assert [pairs_per_axis(width) for width in (6, 10, 12, 32, 64)] == [1, 1, 2, 5, 10]
    for width in (4, 9):
        with pytest.raises(ValueError, match=f'a head of {width} features'):
            query_angles(2, width, EXACT)
        with pytest.raises(ValueError, match='even number, 6 or more'):
            memory_angles(2, 2, width, EXACT)
