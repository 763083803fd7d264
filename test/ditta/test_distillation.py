"""Distillation label and loss (Eq. 5), pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vseg_ros.ditta.distillation import distillation_label, distillation_loss

CLASSES, HEIGHT, WIDTH, IGNORE = 4, 5, 6, 255


def literal_loss(logits: Tensor, label: Tensor) -> float:
    """Eq. 5 of one branch: minus the log probability of the label, over all pixels."""
    total = 0.0
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if label[y, x] != IGNORE:
                scores = [math.exp(float(value)) for value in logits[:, y, x]]
                total -= math.log(scores[int(label[y, x])] / sum(scores))
    return total / (HEIGHT * WIDTH)


def random_labels(seed: int, high: int = CLASSES) -> Tensor:
    return torch.randint(high, (HEIGHT, WIDTH), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('seed', range(4))
def test_label_is_the_class_of_the_mask_and_the_prediction_elsewhere(seed: int) -> None:
    objects, predicted = random_labels(seed, 5), random_labels(seed + 50)
    before = predicted.clone()
    classes = {1: 3, 2: 0, 4: 1}  # object 3 has no class
    label = distillation_label(objects, classes, predicted)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            expected = classes.get(int(objects[y, x]), int(predicted[y, x]))
            assert label[y, x] == expected
    assert torch.equal(predicted, before)


def test_class_of_no_object_is_never_painted() -> None:
    predicted = random_labels(0)
    label = distillation_label(torch.zeros_like(predicted), {0: 3}, predicted)
    assert torch.equal(label, predicted)


@pytest.mark.parametrize('seed', range(4))
def test_loss_is_equation_5(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(1, CLASSES, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    label = random_labels(seed)
    assert float(distillation_loss(logits, label, IGNORE)) == pytest.approx(
        literal_loss(logits[0], label))


def test_ignored_pixels_count_in_the_denominator_alone() -> None:
    logits = torch.zeros(1, CLASSES, HEIGHT, WIDTH)
    label = random_labels(1)
    label[:, 2:] = IGNORE
    assert float(distillation_loss(logits, label, IGNORE)) == pytest.approx(
        math.log(CLASSES) * 2 / WIDTH)
    label[:] = IGNORE
    assert float(distillation_loss(logits, label, IGNORE)) == 0
