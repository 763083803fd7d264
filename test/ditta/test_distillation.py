"""Distillation label and loss (Eq. 5), pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vseg_ros.ditta.distillation import (
    LARGEST_WEIGHT,
    distillation_label,
    distillation_loss,
    rarity_weights,
    soft_distillation_loss,
)

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


def test_weights_of_classes_scale_the_loss_of_their_pixels() -> None:
    logits = torch.zeros(1, CLASSES, HEIGHT, WIDTH)
    label = random_labels(2)
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    assert float(distillation_loss(logits, label, IGNORE, weights)) == pytest.approx(
        math.log(CLASSES) * float(weights[label].mean()), rel=1e-5)


@pytest.mark.parametrize('power', [0.0, 0.4, 1.0])
def test_rare_classes_weigh_more_and_one_on_average(power: float) -> None:
    labels = [torch.tensor([[0, 0, 0, 1, IGNORE]]), torch.tensor([[0, 0, 1, 2, IGNORE]])]
    weights = rarity_weights(labels, CLASSES, power)
    shares = torch.tensor([5, 2, 1, 0]) / 8
    assert float((weights * shares).sum()) == pytest.approx(1)
    ratio = (shares[0] / shares[1:3]) ** power
    torch.testing.assert_close(weights[1:3] / weights[0], ratio)


def test_weights_are_bounded_and_equal_at_power_zero() -> None:
    label = torch.zeros(100, 100, dtype=torch.int64)
    label[0, 0] = 2
    assert rarity_weights([label], CLASSES, 0).tolist() == [1] * CLASSES
    assert rarity_weights([label], CLASSES, 1).max() == LARGEST_WEIGHT
    assert torch.isfinite(rarity_weights([torch.full_like(label, IGNORE)], CLASSES, 0.4)).all()


def random_mixture(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (1, CLASSES, HEIGHT, WIDTH)
    logits = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    source = torch.randn(shape, generator=generator, dtype=torch.float64).softmax(1)
    return logits, random_labels(seed), source


@pytest.mark.parametrize('share', [0.0, 0.3, 1.0])
def test_labels_are_soft_where_the_segmenter_said_the_same(share: float) -> None:
    logits, label, source = random_mixture(1)
    label[0, :3] = IGNORE
    total = 0.0
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if label[y, x] == IGNORE:
                continue
            wanted = torch.zeros(CLASSES, dtype=torch.float64)
            wanted[label[y, x]] = 1
            if source[0, :, y, x].argmax() == label[y, x]:
                wanted = (1 - share) * wanted + share * source[0, :, y, x]
            total -= float((wanted * logits[0, :, y, x].log_softmax(0)).sum())
    loss = soft_distillation_loss(logits, label, source, share, IGNORE)
    assert float(loss) == pytest.approx(total / (HEIGHT * WIDTH))


def test_only_corrections_of_the_teacher_change_a_segmenter_with_soft_labels() -> None:
    logits, label, _ = random_mixture(2)
    logits.requires_grad_()
    source = logits.detach().softmax(1)
    corrected = source[0].argmax(0) != label
    assert 0 < corrected.sum() < corrected.numel()
    loss = soft_distillation_loss(logits, label, source, 1.0, IGNORE)
    slope, = torch.autograd.grad(loss, logits)
    assert slope[..., ~corrected].abs().max() < 1e-12
    assert (slope[..., corrected].abs().amax(1) > 1e-3).all()
