"""The kernel for a GPU, run without being compiled, against the tiles and one step on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vseg_ros.ditta.fused_attention import fused_window_attention, try_fused
from vseg_ros.ditta.window_attention import window_attention

pytestmark = pytest.mark.filterwarnings('ignore:flex_attention called without torch.compile')


def maps(size: tuple[int, int], depth: int = 6, classes: int = 5, batch: int = 1,
         ) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(batch, channels, *size, generator=generator)
                         for channels in (depth, depth, classes))
    return query, key, value


@pytest.mark.parametrize(('size', 'radius', 'batch'), [
    ((3, 4), 5, 1), ((20, 37), 2, 2)])
def test_is_window_attention(size: tuple[int, int], radius: int, batch: int) -> None:
    query, key, value = maps(size, batch=batch)
    fused = fused_window_attention(query, key, value, radius, compiled=False)
    assert fused.shape == value.shape
    torch.testing.assert_close(fused, window_attention(query, key, value, radius), rtol=0,
                               atol=1e-4)


def test_depths_that_no_kernel_takes_are_filled_up() -> None:
    query, key, value = maps((9, 10), depth=40, classes=19)
    fused = fused_window_attention(query, key, value, 3, compiled=False)
    torch.testing.assert_close(fused, window_attention(query, key, value, 3), rtol=0, atol=1e-4)


def test_coarse_queries_keep_fine_values() -> None:
    query, key, value = maps((9, 10))
    query, key = query.bfloat16(), key.bfloat16()
    fused = fused_window_attention(query, key, value, 3, compiled=False)
    assert fused.dtype == torch.float32
    torch.testing.assert_close(fused, window_attention(query, key, value, 3), rtol=0, atol=1e-4)


def test_a_cpu_has_no_kernel() -> None:
    assert try_fused(*maps((8, 16)), 5) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_the_compiled_kernel_is_window_attention() -> None:
    inputs = [x.cuda() for x in maps((60, 108), depth=256, classes=15)]
    with torch.no_grad():
        tiles = window_attention(*(x.double() for x in inputs), 5).float()
        torch.testing.assert_close(fused_window_attention(*inputs, 5), tiles, rtol=0, atol=1e-4)
