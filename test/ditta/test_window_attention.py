"""Window attention: dense against the literal form, its gradients, its memory; sparse as dense."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vseg_ros.ditta.sparse_attention import window_attention_where
from vseg_ros.ditta.window_attention import window_attention

SIZES = [(13, 17), (12, 18), (3, 4), (1, 1), (1, 29), (11, 5)]


def literal_attention(query: Tensor, key: Tensor, value: Tensor, radius: int) -> Tensor:
    """Full [hw, hw] attention with everything outside the window at minus infinity."""
    _, height, width = query.shape
    y = torch.arange(height).repeat_interleave(width)
    x = torch.arange(width).repeat(height)
    near = ((y[:, None] - y).abs() <= radius) & ((x[:, None] - x).abs() <= radius)
    scores = (query.flatten(1).T @ key.flatten(1)).masked_fill(~near, float('-inf'))
    return (value.flatten(1) @ scores.softmax(-1).T).view_as(value)


def maps(size: tuple[int, int], dtype: torch.dtype = torch.float64, depth: int = 8,
         classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size[0] * 100 + size[1])
    query, key, value = (torch.randn(channels, *size, generator=generator, dtype=torch.float64)
                         for channels in (depth, depth, classes))
    return query.to(dtype), key.to(dtype), value.to(dtype)


@pytest.mark.parametrize('radius', [0, 1, 5])
@pytest.mark.parametrize('size', SIZES)
def test_equals_full_attention(size: tuple[int, int], radius: int) -> None:
    query, key, value = maps(size)
    torch.testing.assert_close(window_attention(query, key, value, radius),
                               literal_attention(query, key, value, radius), rtol=0, atol=1e-10)


def test_equals_full_attention_in_single_precision() -> None:
    query, key, value = maps((25, 31), torch.float32, depth=64, classes=15)
    expected = literal_attention(query.double(), key.double(), value.double(), 5)
    torch.testing.assert_close(window_attention(query, key, value, 5).double(), expected,
                               rtol=0, atol=1e-4)


@pytest.mark.parametrize('size', SIZES)
def test_gradients_equal_those_of_full_attention(size: tuple[int, int]) -> None:
    inputs = [x.requires_grad_() for x in maps(size)]
    direction = torch.randn(3, *size, dtype=torch.float64)
    ours = torch.autograd.grad(window_attention(*inputs, 3), inputs, direction)
    expected = torch.autograd.grad(literal_attention(*inputs, 3), inputs, direction)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_gradcheck() -> None:
    inputs = [torch.stack([x, x.flip(0)]).requires_grad_() for x in maps((4, 5), depth=2)]
    assert torch.autograd.gradcheck(lambda *x: window_attention(*x, 2), inputs)


def test_one_tile_at_a_time_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [x.requires_grad_() for x in maps((40, 23))]
    whole = window_attention(*inputs, 5)
    whole_gradients = torch.autograd.grad(whole.square().sum(), inputs)
    monkeypatch.setattr('vseg_ros.ditta.window_tiles._CPU_BYTES', 1)
    stepwise = window_attention(*inputs, 5)
    gradients = torch.autograd.grad(stepwise.square().sum(), inputs)
    for mine, theirs in zip((stepwise, *gradients), (whole, *whole_gradients), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_items_of_a_batch_do_not_meet() -> None:
    first, second = maps((9, 14)), maps((14, 9))
    second = tuple(x.transpose(1, 2) for x in second)
    together = window_attention(*(torch.stack(pair) for pair in zip(first, second, strict=True)),
                                5)
    torch.testing.assert_close(together[0], window_attention(*first, 5))
    torch.testing.assert_close(together[1], window_attention(*second, 5))


def test_large_scores_neither_overflow_nor_leave_the_window() -> None:
    query, key, value = maps((14, 15), torch.float32)
    attended = window_attention(query * 1e4, key * 1e4, value, 5)
    expected = literal_attention(query.double() * 1e4, key.double() * 1e4, value.double(), 5)
    torch.testing.assert_close(attended.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(dtype: torch.dtype) -> None:
    inputs = [x.requires_grad_() for x in maps((13, 16), dtype)]
    attended = window_attention(*inputs, 5)
    attended.float().sum().backward()
    assert attended.dtype == dtype
    expected = literal_attention(*(x.detach().double() for x in inputs), 5)
    torch.testing.assert_close(attended.double(), expected, rtol=0, atol=0.1)
    assert all(x.grad is not None and x.grad.isfinite().all() for x in inputs)


@pytest.mark.parametrize('shapes', [
    ((4, 5, 6), (4, 5, 7), (3, 5, 6)),
    ((4, 5, 6), (4, 5, 6), (3, 5, 7)),
    ((2, 4, 5, 6), (2, 4, 5, 6), (1, 3, 5, 6)),
    ((5, 6), (5, 6), (5, 6)),
])
def test_maps_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match='maps of one size'):
        window_attention(*(torch.zeros(shape) for shape in shapes), 5)


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(ValueError, match='radius -1'):
        window_attention(*maps((4, 4)), -1)


def lookup(tokens: Tensor, asked: list[int]) -> Callable[[Tensor], Tensor]:
    """Projection that notes the places it is asked for."""
    def take(places: Tensor) -> Tensor:
        asked.extend(places.tolist())
        return tokens.flatten(1)[:, places].T
    return take


@pytest.mark.parametrize('share', [0.0, 0.01, 0.2, 1.0])
@pytest.mark.parametrize('size', [(31, 26), (13, 60), (4, 3)])
def test_sparse_equals_dense_where_wanted(size: tuple[int, int], share: float) -> None:
    query, key, value = maps(size)
    wanted = torch.rand(size, generator=torch.Generator().manual_seed(0)) < share
    places, sparse = window_attention_where(wanted, lookup(query, []), lookup(key, []), value, 5)
    assert places.sort().values.tolist() == wanted.flatten().nonzero().flatten().tolist()
    dense = window_attention(query, key, value, 5)
    torch.testing.assert_close(sparse, dense.flatten(1)[:, places].T, rtol=0, atol=1e-12)


def test_sparse_asks_for_nothing_it_does_not_need() -> None:
    query, key, value = maps((30, 40))
    wanted = torch.zeros(30, 40, dtype=torch.bool)
    wanted[2, 20] = True
    queries, keys = list[int](), list[int]()
    window_attention_where(wanted, lookup(query, queries), lookup(key, keys), value, 5)
    assert queries == [2 * 40 + 20]
    assert sorted(keys) == [y * 40 + x for y in range(8) for x in range(15, 26)]


def test_sparse_refuses_a_mask_of_another_size() -> None:
    query, key, value = maps((6, 7))
    with pytest.raises(ValueError, match=r'wanted \[7, 6\]'):
        window_attention_where(torch.ones(7, 6, dtype=torch.bool), lookup(query, []),
                               lookup(key, []), value, 5)


MEASURED = """
import torch
torch.set_num_threads(1)
from vseg_ros.ditta.window_attention import window_attention
def peak():
    lines = open('/proc/self/status').read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM')) / 1024
inputs = [torch.randn(1, 16, 120, 216, requires_grad=True) for _ in range(3)]
window_attention(*(x[:, :, :24, :24] for x in inputs), 5).sum().backward()
before = peak()
window_attention(*inputs, 5).sum().backward()
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='reads peak memory from /proc')
def test_memory_is_linear_in_the_pixels() -> None:
    # 120 x 216 tokens: a [hw, hw] matrix of one byte an entry alone would be 640 MiB.
    result = subprocess.run([sys.executable, '-c', MEASURED], capture_output=True, text=True,
                            check=True)
    assert float(result.stdout) < 100
