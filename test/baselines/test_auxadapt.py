"""AuxAdapt: sum, decision and one step of SGD, spelled out."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from vseg_ros.baselines.auxadapt import AuxAdaptLearner, decision_loss, sum_of_logits
from vseg_ros.errors import UserError
from vseg_ros.labels import LabelSet
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.loading import load_segmenter
from vseg_ros.settings import PipelineSettings

Images = Callable[[int], NDArray[np.uint8]]
SIZE = 64, 96


def test_loss_is_the_cross_entropy_of_the_own_decision() -> None:
    logits = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 3
    total = 0.0
    for row in range(4):
        for column in range(5):
            weights = [math.exp(value) for value in logits[0, :, row, column].tolist()]
            total -= math.log(max(weights) / sum(weights))
    assert float(decision_loss(logits)) == pytest.approx(total / 20, rel=1e-5)


def test_logits_are_added_at_the_size_of_the_segmenters() -> None:
    main, auxiliary = torch.randn(1, 3, 4, 6), torch.randn(1, 3, 2, 3)
    larger = nn.functional.interpolate(auxiliary, (4, 6), mode='bilinear')
    assert torch.equal(sum_of_logits(main, auxiliary), main + larger)


@pytest.mark.parametrize('steps', [1, 2])
def test_steps_are_sgd_on_the_auxiliary_network_alone(
        new_settings: Callable[..., PipelineSettings], write_tiny: Callable[..., Path],
        new_labeller: Callable[..., ImageLabeller], steps: int, moving_image: Images) -> None:
    settings = new_settings('auxadapt', {
        'auxadapt.network': str(write_tiny(2)), 'auxadapt.learning_rate': 0.01,
        'auxadapt.momentum': 0.5, 'auxadapt.steps': steps})
    labeller = new_labeller(settings)
    before = copy.deepcopy(labeller.segmenter.state_dict())
    learner = AuxAdaptLearner(labeller, settings)
    # in float64, as each step multiplies what the one before was rounded by
    learner.auxiliary.double()
    literal = load_segmenter(str(write_tiny(2))).requires_grad_(True).double()
    velocity = [torch.zeros_like(value) for value in literal.parameters()]
    for index in range(3):
        image = moving_image(index)
        learned = learner.learn(image)
        smaller = cv2.resize(image, (SIZE[1] // 2 // 32 * 32 + 32, SIZE[0] // 2),
                             interpolation=cv2.INTER_AREA)
        assert smaller.shape == (32, 64, 3)
        main = labeller.runtime.infer(image).logits
        for step in range(steps):
            auxiliary = literal(torch.from_numpy(smaller)[None]).logits
            both = main + nn.functional.interpolate(auxiliary, main.shape[2:], mode='bilinear')
            sized = nn.functional.interpolate(both, SIZE, mode='bilinear')
            label = sized.argmax(1, keepdim=True)
            loss = -sized.log_softmax(1).gather(1, label).mean()
            assert learned.losses[step] == pytest.approx(float(loss.detach()), rel=1e-6)
            slopes = torch.autograd.grad(loss, list(literal.parameters()), allow_unused=True)
            with torch.no_grad():
                for number, (value, slope) in enumerate(zip(literal.parameters(), slopes,
                                                            strict=True)):
                    velocity[number] = 0.5 * velocity[number] + slope
                    value.sub_(0.01 * velocity[number])
        torch.testing.assert_close(learned.logits, both.detach(), rtol=1e-6, atol=1e-6)
    for value, expected in zip(learner.auxiliary.parameters(), literal.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
    after = labeller.segmenter.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    # frozen, the pair answers as the two networks do
    learner.auxiliary.float()
    frozen = learner.freeze()
    with torch.no_grad():
        auxiliary = literal.float()(torch.from_numpy(smaller)[None]).logits
        both = main + nn.functional.interpolate(auxiliary, main.shape[2:], mode='bilinear')
    torch.testing.assert_close(frozen.infer(image), both, rtol=1e-3, atol=1e-3)


def test_by_default_the_segmenter_is_its_own_auxiliary(
        new_settings: Callable[..., PipelineSettings],
        new_labeller: Callable[..., ImageLabeller], moving_image: Images) -> None:
    settings = new_settings('auxadapt', {'auxadapt.scale': 1.0})
    labeller = new_labeller(settings)
    answer = AuxAdaptLearner(labeller, settings).learn(moving_image(0)).logits
    plain = labeller.runtime.infer(moving_image(0)).logits
    torch.testing.assert_close(answer, 2 * plain, rtol=1e-4, atol=1e-4)


def test_other_classes_are_refused(
        new_settings: Callable[..., PipelineSettings], write_tiny: Callable[..., Path],
        new_labeller: Callable[..., ImageLabeller]) -> None:
    other = write_tiny(2, LabelSet.from_names(('road', 'sky')))
    settings = new_settings('auxadapt', {'auxadapt.network': str(other)})
    with pytest.raises(UserError, match='has other classes than the segmenter'):
        AuxAdaptLearner(new_labeller(settings), settings)
