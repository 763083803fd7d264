"""TENT: its loss pixel by pixel, what it changes, and one step spelled out."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from vseg_ros.baselines.tent import TentLearner, entropy_loss, normalisation_parameters
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.settings import TentSettings

Images = Callable[[int], NDArray[np.uint8]]
SIZE = 64, 96


def test_loss_is_the_mean_entropy_of_the_pixels() -> None:
    logits = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 3
    total = 0.0
    for row in range(4):
        for column in range(5):
            weights = [math.exp(value) for value in logits[0, :, row, column].tolist()]
            for weight in weights:
                share = weight / sum(weights)
                total -= share * math.log(share)
    assert float(entropy_loss(logits)) == pytest.approx(total / 20, rel=1e-5)


def test_scale_and_shift_of_every_normalisation_and_of_nothing_else() -> None:
    layers = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Conv2d(3, 4, 1),
                           nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)))
    found = normalisation_parameters(layers)
    expected = [layers[1].weight, layers[1].bias, layers[3][0].weight, layers[3][0].bias]
    assert [id(value) for value in found] == [id(value) for value in expected]


@pytest.mark.parametrize('mode', ['batch', 'frozen'])
@pytest.mark.parametrize(('part', 'layers'), [('all', ('norm',)), ('decoder', ('batch_norm',))])
def test_steps_are_adam_on_the_entropy(new_labeller: Callable[..., ImageLabeller], part: str,
                                       layers: tuple[str, ...], mode: str,
                                       moving_image: Images) -> None:
    labeller = new_labeller()
    learner = TentLearner(labeller, TentSettings.model_validate(
        {'tent': {'learning_rate': 0.02, 'steps': 2, 'part': part, 'batch_norm': mode}}))
    literal = copy.deepcopy(labeller.segmenter)
    literal.decoder.head.batch_norm.train(mode == 'batch')
    learning = {name: value for name, value in literal.named_parameters()
                if any(layer in name for layer in layers)}
    optimizer = torch.optim.Adam([value.requires_grad_(True) for value in learning.values()],
                                 lr=0.02)
    for index in range(2):
        image = moving_image(index)
        learned = learner.learn(image)
        for step in range(2):
            logits = literal(torch.from_numpy(image)[None]).logits
            sized = nn.functional.interpolate(logits, SIZE, mode='bilinear')
            loss = -(sized.softmax(1) * sized.log_softmax(1)).sum(1).mean()
            assert learned.losses[step] == pytest.approx(float(loss.detach()), rel=1e-4)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.testing.assert_close(learned.logits, logits.detach(), rtol=1e-4, atol=1e-4)
    adapted = dict(learner.segmenter.named_parameters())
    moved = {name for name, value in labeller.segmenter.named_parameters()
             if not torch.equal(value, adapted[name])}
    # a shift of queries and keys alike is lost in the softmax: some do not move
    assert moved <= set(learning)
    assert len(moved) > 0.8 * len(learning)
    with torch.no_grad():
        batch = torch.from_numpy(moving_image(9))[None]
        torch.testing.assert_close(learner.segmenter(batch).logits, literal(batch).logits,
                                   rtol=1e-3, atol=1e-3)
    if mode == 'frozen':
        # what batch statistics undo has a slope of rounding errors, which Adam blows up
        for name in learning:
            torch.testing.assert_close(adapted[name], learning[name], rtol=1e-3, atol=1e-4)


def test_entropy_falls(new_labeller: Callable[..., ImageLabeller], moving_image: Images) -> None:
    learner = TentLearner(new_labeller(), TentSettings())
    losses = [loss for _ in range(6) for loss in learner.learn(moving_image(0)).losses]
    assert len(losses) == 6
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize('mode', ['batch', 'frozen'])
def test_statistics_of_the_frame_renew_the_running_ones(
        new_labeller: Callable[..., ImageLabeller], mode: str, moving_image: Images) -> None:
    labeller = new_labeller()
    learner = TentLearner(labeller, TentSettings.model_validate({'tent': {'batch_norm': mode}}))
    learner.learn(moving_image(5))
    before = labeller.segmenter.decoder.head.batch_norm.running_mean
    after = learner.segmenter.decoder.head.batch_norm.running_mean
    assert torch.equal(before, after) == (mode == 'frozen')
