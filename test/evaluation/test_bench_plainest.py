"""The plainest versions give the numbers of the package, which is what makes them a yardstick."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from vseg_ros.ditta.adaptation import WarmupSample, adapt
from vseg_ros.ditta.frozen import FrozenFusion
from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.window_attention import window_attention
from vseg_ros.evaluation.bench.plainest import (
    PlainAdaptation,
    PlainFrozen,
    decode_unfused,
    full_attention,
)
from vseg_ros.labels import LabelSet
from vseg_ros.models.segformer import new_segformer
from vseg_ros.models.segmenter import Features, ImageSegmenter
from vseg_ros.settings import AdaptationSettings, FusionSettings

SIZE, RADIUS, IGNORED = (64, 96), 2, 255


@pytest.fixture(scope='module')
def segmenter() -> ImageSegmenter:
    """A SegFormer that is sure of some pixels and unsure of others."""
    torch.manual_seed(0)
    made = new_segformer(LabelSet.from_names(['road', 'sky', 'car', 'tree', 'wall'])).eval()
    norm = made.decoder.head.batch_norm
    nn.init.uniform_(norm.running_mean, -0.1, 0.1)
    nn.init.uniform_(norm.weight, 10, 60)
    nn.init.normal_(made.decoder.head.classifier.weight, std=0.3)
    for module in made.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return made.requires_grad_(False)


@pytest.fixture(scope='module')
def images() -> Tensor:
    """Three frames of smooth noise, uint8 [3, H, W, 3]."""
    noise = torch.rand(3, 3, 9, 13, generator=torch.Generator().manual_seed(1))
    smooth = nn.functional.interpolate(noise, SIZE, mode='bilinear') * 255
    return smooth.permute(0, 2, 3, 1).to(torch.uint8)


@pytest.fixture
def model(segmenter: ImageSegmenter) -> DittaModel:
    torch.manual_seed(2)
    return DittaModel(copy.deepcopy(segmenter.decoder), RADIUS)


def test_full_attention_equals_windowed() -> None:
    torch.manual_seed(3)
    query, key, value = torch.randn(1, 6, 9, 14), torch.randn(1, 6, 9, 14), torch.randn(1, 4, 9,
                                                                                        14)
    torch.testing.assert_close(full_attention(query, key, value, 3),
                               window_attention(query, key, value, 3), rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_head_of_transformers_equals_the_fused_one(segmenter: ImageSegmenter,
                                                       images: Tensor) -> None:
    features = segmenter.encode(images)
    plain, fused = decode_unfused(segmenter.decoder, features), segmenter.decode(features)
    torch.testing.assert_close(plain.embedding, fused.embedding, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(plain.logits, fused.logits, rtol=1e-4, atol=1e-4)


def frozen_labels(segmenter: ImageSegmenter, model: DittaModel, images: Tensor, tau: float,
                  ) -> Tensor:
    settings = FusionSettings(tau=tau, radius=RADIUS, memory='plain')
    fusion = FrozenFusion(model.addon.fold(), settings)
    decoder = model.decoder.fold()
    with torch.no_grad():
        for image in images[:2]:
            scored = fusion.step(decoder(segmenter.encode(image[None])), SIZE)
    return scored.labels.long()


def test_frozen_labels_equal_where_everything_is_computed(
        segmenter: ImageSegmenter, model: DittaModel, images: Tensor) -> None:
    model.eval().requires_grad_(False)
    ours = frozen_labels(segmenter, model, images, tau=1.0)
    plain, _ = PlainFrozen(segmenter, model, 1.0).step(images[:2])
    assert len(plain.unique()) > 1
    # Two classes can be as probable as each other to the last digit.
    assert (ours != plain).sum() <= 2


def test_frozen_labels_nearly_equal_where_the_addon_is_sparse(
        segmenter: ImageSegmenter, model: DittaModel, images: Tensor) -> None:
    model.eval().requires_grad_(False)
    ours = frozen_labels(segmenter, model, images, tau=0.8)
    plain, sure = PlainFrozen(segmenter, model, 0.8).step(images[:2])
    weak = sure < 0.8
    assert 0.1 < weak.float().mean() < 0.9
    # Ours takes the highest entropy of the add-on among the weak cells, not among all.
    assert (ours != plain).float().mean() < 0.01


def targets() -> tuple[Tensor, Tensor]:
    """A distillation label and object ids, int64 [H, W]; object 7 is in every frame."""
    label = torch.zeros(SIZE, dtype=torch.long)
    objects = torch.zeros(SIZE, dtype=torch.long)
    label[:20], label[30:, 40:60], label[0, 0] = 1, 2, IGNORED
    objects[30:, 40:60], objects[5:15, 5:25] = 7, 9
    return label, objects


@pytest.mark.parametrize('batch_norm', ['batch', 'frozen'])
def test_adaptation_gives_the_same_losses_and_gradients(
        segmenter: ImageSegmenter, model: DittaModel, images: Tensor, batch_norm: str) -> None:
    # In double precision, and with steps so small that rounding is not amplified by an
    # optimiser that follows signs.
    settings = AdaptationSettings(passes=1, loss_stride=1, learning_rate=1e-9,
                                  batch_norm=batch_norm, soft_labels=0.0)
    weights = torch.linspace(0.5, 2, len(segmenter.label_set), dtype=torch.float64)
    segmenter, model = copy.deepcopy(segmenter).double(), model.double()
    label, objects = targets()
    features = [segmenter.encode(image[None]) for image in images]
    ours = copy.deepcopy(model)
    result = adapt(ours, [WarmupSample(f, label, objects) for f in features], settings, IGNORED,
                   class_weights=weights)

    def encode(wanted: Sequence[int]) -> Features:
        return segmenter.encode(images[list(wanted)])

    loop = PlainAdaptation(model, encode, settings, IGNORED, class_weights=weights)
    history = [loop.step(number, label, objects) for number in range(len(images))]
    assert set(history[1]) == {'distill', 'distill_addon', 'contrastive', 'total'}
    for mine, theirs in zip(result.history, history, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)
    for (name, mine), theirs in zip(ours.named_parameters(), model.parameters(), strict=True):
        assert mine.grad is not None, name
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6, msg=name)
