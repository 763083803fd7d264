"""8-bit products against the same in exact numbers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vseg_ros.ditta import quantized_linear
from vseg_ros.ditta.quantized_linear import (
    QuantizedLinear,
    QuantizedRows,
    multiplies_integers,
    quantize,
)

DEPTH, WIDTH, COUNT = 48, 32, 200
needs_integers = pytest.mark.skipif(not multiplies_integers(),
                                    reason='this processor has no products of 8-bit integers')


@pytest.fixture
def asked_anew() -> Iterator[None]:
    multiplies_integers.cache_clear()
    yield
    multiplies_integers.cache_clear()


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(5)
    return nn.Linear(DEPTH, WIDTH).requires_grad_(False)


def random_rows(low: float, high: float) -> Tensor:
    torch.manual_seed(6)
    return low + (high - low) * torch.rand(COUNT, DEPTH)


def exact(rows: QuantizedRows) -> Tensor:
    return (rows.values.double() - rows.zero_point) * rows.scale


@pytest.mark.parametrize(('low', 'high'), [(0, 7), (0, 1e-6), (-2, 5), (-5, 0), (-3, -1), (4, 5)])
def test_rows_are_rounded_to_256_steps(low: float, high: float) -> None:
    rows = random_rows(low, high)
    quantized = quantize(rows)
    assert quantized.values.dtype == torch.uint8
    assert quantized.scale == pytest.approx((max(high, 0) - min(low, 0)) / 255, rel=1e-2)
    assert (exact(quantized) - rows).abs().max() <= 0.501 * quantized.scale
    assert (quantized.zero_point == 0) == (low >= 0)


def test_zero_stays_zero() -> None:
    rows = random_rows(-2, 5)
    rows[3] = 0
    assert (exact(quantize(rows))[3] == 0).all()
    nothing = quantize(torch.zeros(4, DEPTH))
    assert (exact(nothing) == 0).all()


def test_rows_are_picked_in_order() -> None:
    quantized = quantize(random_rows(-2, 5))
    places = torch.tensor([7, 0, 7])
    torch.testing.assert_close(exact(quantized.pick(places)), exact(quantized)[places])


@needs_integers
@pytest.mark.parametrize('relu', [False, True])
@pytest.mark.parametrize(('low', 'high'), [(0, 7), (-2, 5)])
def test_product_is_that_of_the_rounded_numbers(layer: nn.Linear, low: float, high: float,
                                                relu: bool) -> None:
    rows = quantize(random_rows(low, high))
    scale = layer.weight.abs().amax(1, keepdim=True) / 127
    weight = (layer.weight / scale).round().double() * scale
    expected = exact(rows) @ weight.T + layer.bias
    expected = expected.clamp_min(0) if relu else expected
    multiply = QuantizedLinear(layer)
    torch.testing.assert_close(multiply(rows, torch.float32, relu).double(), expected,
                               rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(multiply(rows, torch.bfloat16, relu).double(), expected,
                               rtol=1e-2, atol=1e-2)


@needs_integers
def test_products_of_the_greatest_numbers_do_not_overflow() -> None:
    layer = nn.Linear(768, 4).requires_grad_(False)
    layer.weight.fill_(1)
    rows = quantize(torch.ones(3, 768))
    expected = 768 + layer.bias.expand(3, 4)
    torch.testing.assert_close(QuantizedLinear(layer)(rows, torch.float32), expected)


@needs_integers
def test_the_layer_is_copied_and_may_have_rows_of_zeros(layer: nn.Linear) -> None:
    layer.weight[2] = 0
    multiply = QuantizedLinear(layer)
    rows = random_rows(0, 1)
    expected = layer(rows)
    layer.weight.zero_()
    layer.bias.zero_()
    found = multiply(quantize(rows), torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)
    assert (found[:, 2] == expected[:, 2]).all()


@needs_integers
@pytest.mark.parametrize('copied', [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_multiplies_alike(layer: nn.Linear, copied: Callable[[QuantizedLinear],
                                                                    QuantizedLinear]) -> None:
    multiply, rows = QuantizedLinear(layer), quantize(random_rows(0, 1))
    assert torch.equal(copied(multiply)(rows, torch.float32), multiply(rows, torch.float32))


@needs_integers
@pytest.mark.parametrize('wrong', [float('nan'), float('inf')])
def test_numbers_that_are_not_finite_stay_visible(layer: nn.Linear, wrong: float) -> None:
    rows = random_rows(0, 1)
    rows[5, 7] = wrong
    assert not QuantizedLinear(layer)(quantize(rows), torch.float32).isfinite().any()


def test_asking_leaves_the_random_numbers_alone(asked_anew: None) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    multiplies_integers()
    assert torch.equal(torch.rand(3), expected)


def test_processors_with_vnni_are_recognised(asked_anew: None) -> None:
    flags = Path('/proc/cpuinfo')
    if not flags.exists():
        pytest.skip('only Linux says so what its processor can do')
    assert multiplies_integers() == ('avx512_vnni' in flags.read_text().split())


@pytest.mark.parametrize('error', [AttributeError, RuntimeError, TypeError])
def test_a_torch_that_cannot_is_not_asked_to(error: type[Exception], asked_anew: None,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(layer: nn.Linear) -> QuantizedLinear:
        raise error

    monkeypatch.setattr(quantized_linear, 'QuantizedLinear', refuse)
    assert not multiplies_integers()


def test_a_torch_that_multiplies_otherwise_is_not_trusted(
        asked_anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized_linear, 'QuantizedLinear',
                        lambda layer: lambda rows, dtype: torch.zeros(8, 16))
    assert not multiplies_integers()
