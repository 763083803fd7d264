"""Decoder, add-on and projection head as one module."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vseg_ros.ditta.model import DittaModel
from vseg_ros.models.segmenter import Features, ImageSegmenter

MapFeatures = Callable[[int], Features]


@pytest.fixture
def model(tiny_segmenter: Callable[..., ImageSegmenter]) -> DittaModel:
    return DittaModel(tiny_segmenter().decoder, radius=2).eval()


@pytest.fixture
def features() -> MapFeatures:
    """Function of a seed: random backbone features of a 32x64 image."""
    def make(seed: int) -> Features:
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(1, channels, 8 >> level, 16 >> level, generator=generator)
                     for level, channels in enumerate((8, 16, 40, 32)))
    return make


@torch.no_grad()
def test_two_frames_give_both_branches(model: DittaModel, features: MapFeatures) -> None:
    now, before = features(1), features(2)
    branches = model(now, before)
    decoded, decoded_before = model.decoder(now), model.decoder(before)
    torch.testing.assert_close(branches.plain, decoded.logits)
    torch.testing.assert_close(branches.temporal, model.addon(
        decoded.embedding, decoded_before.embedding, decoded_before.logits))
    torch.testing.assert_close(branches.features, model.projection(decoded.embedding))
    assert branches.plain.shape == branches.temporal.shape == (1, 4, 8, 16)
    assert branches.features.shape == (1, 16, 8, 16)


@torch.no_grad()
def test_first_frame_has_no_temporal_branch(model: DittaModel, features: MapFeatures) -> None:
    branches = model(features(1), None)
    assert branches.temporal is None
    torch.testing.assert_close(branches.plain, model.decoder(features(1)).logits)
    torch.testing.assert_close(branches.features, model(features(1), features(2)).features)


def test_everything_but_the_backbone_is_learned(model: DittaModel, features: MapFeatures) -> None:
    branches = model.requires_grad_(True)(features(1), features(2))
    # a constant would pass unchanged through the softmax over the window
    total = branches.plain.square().sum() + branches.temporal.square().sum()
    (total + branches.features.square().sum()).backward()
    assert {name.split('.')[0] for name in model.state_dict()} == {
        'decoder', 'addon', 'projection'}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # what does not depend on the key drops out of the softmax
        if name != 'addon.key_layer.2.bias':
            assert parameter.grad.abs().max() > 0, name
