"""Attention in operators of ONNX against Eq. 1, place by place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vseg_ros.ditta.onnx_attention import DenseWindowAttention

DEPTH, CLASSES = 6, 3


def literal(query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int], radius: int,
            ) -> Tensor:
    """Eq. 1 in loops: rows are places y * w + x."""
    height, width = size
    attended = torch.empty_like(value)
    for y in range(height):
        for x in range(width):
            around = [v * width + u for v in range(height) for u in range(width)
                      if abs(v - y) <= radius and abs(u - x) <= radius]
            weights = (key[around] @ query[y * width + x]).softmax(0)
            attended[y * width + x] = weights @ value[around]
    return attended


@pytest.mark.parametrize('fixed', [True, False], ids=['fixed', 'free'])
@pytest.mark.parametrize(('size', 'radius'), [((7, 9), 2), ((6, 6), 1), ((3, 14), 5), ((1, 1), 3)])
def test_every_place_attends_to_its_window(size: tuple[int, int], radius: int,
                                           fixed: bool) -> None:
    generator = torch.Generator().manual_seed(radius)
    places = size[0] * size[1]
    query, key = (2 * torch.randn(places, DEPTH, generator=generator) for _ in range(2))
    value = torch.randn(places, CLASSES, generator=generator)
    attention = DenseWindowAttention(radius, size if fixed else None)
    torch.testing.assert_close(attention(query, key, value, size),
                               literal(query, key, value, size, radius))


def test_half_precision_is_for_queries_and_keys() -> None:
    query, key = torch.randn(2, 20, DEPTH).half()
    value = torch.randn(20, CLASSES)
    attended = DenseWindowAttention(2, (4, 5), torch.float16)(query, key, value, (4, 5))
    assert attended.dtype == torch.float32
    expected = literal(query.float(), key.float(), value, (4, 5), 2)
    torch.testing.assert_close(attended, expected, rtol=0, atol=2e-2)


def test_memory_is_linear_in_the_places() -> None:
    """The largest list that a graph holds has a row for each halo's place, not for each pair."""
    small, large = (DenseWindowAttention(5, size).get_buffer('halos').numel()
                    for size in ((60, 60), (120, 120)))
    assert large == 4 * small
    assert large < 8 * 120 * 120
