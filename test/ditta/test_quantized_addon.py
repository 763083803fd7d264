"""The add-on in 8-bit integers beside the exact one."""

from __future__ import annotations

import pytest
import torch

from vseg_ros.ditta.quantized_addon import QuantizedAddon
from vseg_ros.ditta.quantized_linear import multiplies_integers
from vseg_ros.ditta.temporal_addon import TemporalAddon

pytestmark = pytest.mark.skipif(not multiplies_integers(),
                                reason='this processor has no products of 8-bit integers')
SIZE, WIDTH, CLASSES = (17, 22), 32, 6


@pytest.fixture
def addon() -> TemporalAddon:
    torch.manual_seed(3)
    addon = TemporalAddon(WIDTH, 5).requires_grad_(False)
    for parameter in addon.parameters():  # far from the start, where attention is uniform
        parameter.mul_(2)
    return addon


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('signed', [False, True])
def test_says_what_the_exact_addon_says(addon: TemporalAddon, signed: bool,
                                        dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    embedding, previous = (torch.randn(2, WIDTH, *SIZE, generator=generator)
                           if signed else
                           torch.randn(2, WIDTH, *SIZE, generator=generator).relu())
    logits = torch.randn(CLASSES, *SIZE, generator=generator)
    wanted = torch.rand(SIZE, generator=generator) < 0.3
    exact = addon(embedding, previous, logits)
    quantized = QuantizedAddon(addon.fold(), dtype)
    places, values = quantized.forward_where(
        quantized.tokens(embedding), quantized.tokens(previous), logits, wanted)
    expected = exact.flatten(1)[:, places].T
    assert sorted(places.tolist()) == wanted.flatten().nonzero().flatten().tolist()
    assert values.dtype == torch.float32
    assert (values - expected).abs().mean() < 0.02 * expected.std()


def test_layout_of_the_embedding_does_not_matter(addon: TemporalAddon) -> None:
    embedding = torch.rand(1, WIDTH, *SIZE)
    quantized = QuantizedAddon(addon.fold(), torch.float32)
    expected = quantized.tokens(embedding[0])
    found = quantized.tokens(embedding.to(memory_format=torch.channels_last)[0])
    assert torch.equal(found.values, expected.values)
    assert found.scale == expected.scale


def test_nothing_wanted_computes_nothing(addon: TemporalAddon) -> None:
    quantized = QuantizedAddon(addon.fold(), torch.float32)
    tokens = quantized.tokens(torch.rand(WIDTH, *SIZE))
    places, values = quantized.forward_where(tokens, tokens, torch.rand(CLASSES, *SIZE),
                                             torch.zeros(SIZE, dtype=torch.bool))
    assert not len(places)
    assert values.shape == (0, CLASSES)
