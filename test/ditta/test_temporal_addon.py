"""The temporal add-on: Eq. 1 spelled out, its sparse form, its folded form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vseg_ros.ditta.sparse_attention import Attended
from vseg_ros.ditta.temporal_addon import FrozenAddon, TemporalAddon

SIZE, WIDTH, CLASSES = (17, 22), 32, 6


def literal_addon(addon: TemporalAddon, embedding: Tensor, previous_embedding: Tensor,
                  previous_logits: Tensor) -> Tensor:
    """Eq. 1 place by place."""
    query = addon.query_layer(embedding.permute(1, 2, 0))
    key = addon.key_layer(previous_embedding.permute(1, 2, 0))
    result = torch.empty_like(previous_logits)
    radius = addon.radius
    for y in range(embedding.shape[1]):
        for x in range(embedding.shape[2]):
            window = (slice(max(0, y - radius), y + radius + 1),
                      slice(max(0, x - radius), x + radius + 1))
            weights = (key[window] @ query[y, x]).flatten().softmax(0)
            result[:, y, x] = previous_logits[(slice(None), *window)].flatten(1) @ weights
    return result


@pytest.fixture
def addon() -> TemporalAddon:
    torch.manual_seed(3)
    addon = TemporalAddon(WIDTH, 5).double()
    with torch.no_grad():  # far from the start, where attention is all but uniform
        for parameter in addon.parameters():
            parameter.mul_(3)
    return addon


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    embedding, previous, logits = (
        torch.randn(channels, *SIZE, generator=generator, dtype=torch.float64)
        for channels in (WIDTH, WIDTH, CLASSES))
    return embedding, previous, logits


@torch.no_grad()
def test_is_equation_1(addon: TemporalAddon, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    expected = literal_addon(addon, *inputs)
    torch.testing.assert_close(addon(*inputs), expected, rtol=0, atol=1e-10)
    batch = addon(*(x[None] for x in inputs))
    torch.testing.assert_close(batch, expected[None], rtol=0, atol=1e-10)
    single = addon.float()(*(x.float() for x in inputs))
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_folded_equals_unfolded(addon: TemporalAddon,
                                inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    folded = addon.fold(torch.float64)
    assert isinstance(folded, FrozenAddon)
    torch.testing.assert_close(folded(*inputs), addon(*inputs), rtol=0, atol=1e-10)


def test_folding_leaves_the_weights_alone(addon: TemporalAddon,
                                          inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    before = addon(*inputs).detach()
    folded = addon.fold(torch.float64)
    torch.testing.assert_close(addon(*inputs), before, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in addon.parameters():
            parameter.zero_()
    torch.testing.assert_close(folded(*inputs), before, rtol=0, atol=1e-10)
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert all(parameter.requires_grad for parameter in addon.parameters())


def where(addon: FrozenAddon, inputs: tuple[Tensor, ...], wanted: Tensor) -> Attended:
    embedding, previous, logits = inputs
    return addon.forward_where(addon.tokens(embedding), addon.tokens(previous), logits, wanted)


def test_sparse_equals_dense_where_computed(addon: TemporalAddon,
                                            inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    dense = addon(*inputs).detach()
    wanted = torch.rand(SIZE, generator=torch.Generator().manual_seed(5)) < 0.1
    places, values = where(addon.fold(torch.float64), inputs, wanted)
    assert not values.requires_grad
    assert len(places) == wanted.sum()
    torch.testing.assert_close(values, dense.flatten(1)[:, places].T, rtol=0, atol=1e-10)


def test_nothing_wanted_computes_nothing(addon: TemporalAddon,
                                         inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    places, values = where(addon.fold(torch.float64), inputs, torch.zeros(SIZE, dtype=torch.bool))
    assert not len(places)
    assert values.shape == (0, len(inputs[2]))


def test_every_weight_and_input_learns(addon: TemporalAddon,
                                       inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    leaves = [x.requires_grad_() for x in inputs]
    addon(*leaves).square().sum().backward()
    # A constant added to a score changes no softmax: the key's last bias cannot learn.
    silent = {'key_layer.2.bias'}
    for name, parameter in addon.named_parameters():
        assert parameter.grad is not None
        assert (parameter.grad.abs().max() > 1e-9) == (name not in silent), name
    assert all(leaf.grad is not None and leaf.grad.abs().max() > 1e-9 for leaf in leaves)


def test_runs_in_bfloat16(addon: TemporalAddon, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    single = addon.float()
    single_precision = tuple(x.float() for x in inputs)
    expected = single(*single_precision).detach()
    with torch.autocast('cpu', torch.bfloat16):
        near = single(*single_precision)
    near.float().sum().backward()
    everywhere = torch.ones(SIZE, dtype=torch.bool)
    places, values = where(single.fold(torch.bfloat16), single_precision, everywhere)
    assert values.dtype == torch.float32
    for result, wanted in ((near, expected), (values, expected.flatten(1)[:, places].T)):
        assert (result.float() - wanted).abs().mean() < 0.05


def test_starts_as_a_blur() -> None:
    torch.manual_seed(0)
    embedding, previous = (torch.randn(256, 15, 15).relu() for _ in range(2))
    logits = torch.randn(4, 15, 15)
    with torch.no_grad():
        middle = TemporalAddon(256, 5)(embedding, previous, logits)[:, 7, 7]
    torch.testing.assert_close(middle, logits[:, 2:13, 2:13].mean((1, 2)), rtol=0, atol=0.05)
