"""The losses of masks against loops over their pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vseg_ros.virst.losses import (
    LossWeights,
    MaskLosses,
    dice_loss,
    mask_losses,
    total_loss,
    true_ious,
)

BATCH, FRAMES, HEIGHT, WIDTH = 2, 3, 4, 5


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cross_entropy(logit: float, wanted: bool) -> float:
    return -math.log(sigmoid(logit) if wanted else 1 - sigmoid(logit))


def literal_losses(logits: Tensor, score: float, iou: float, target: Tensor) -> list[float]:
    """Bce, dice, occlusion and IoU of one frame."""
    bce = both = predicted = true = 0.0
    inside = union = 0
    for y in range(HEIGHT):
        for x in range(WIDTH):
            logit, wanted = float(logits[y, x]), bool(target[y, x])
            bce += cross_entropy(logit, wanted) / (HEIGHT * WIDTH)
            both += sigmoid(logit) / 1000 * wanted
            predicted += sigmoid(logit) / 1000
            true += wanted / 1000
            inside += sigmoid(logit) > 0.5 and wanted
            union += sigmoid(logit) > 0.5 or wanted
    dice = 1 - (2 * both + 1e-6) / (predicted + true + 1e-6)
    visible = any(bool(pixel) for pixel in target.flatten())
    return [bce, dice, cross_entropy(score, visible), abs(inside / (union + 1e-6) - iou)]


def make_inputs(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    targets = torch.rand(BATCH, FRAMES, HEIGHT, WIDTH) > 0.6
    targets[0, 1] = False
    targets[1, 2] = True
    return (2 * torch.randn(targets.shape, dtype=torch.float64),
            torch.randn(BATCH, FRAMES, dtype=torch.float64),
            torch.rand(BATCH, FRAMES, dtype=torch.float64), targets)


def listed(losses: MaskLosses) -> list[float]:
    return [loss.item() for loss in (losses.bce, losses.dice, losses.occlusion, losses.iou)]


@pytest.mark.parametrize('seed', range(3))
def test_losses_are_means_over_clips_and_frames(seed: int) -> None:
    logits, scores, ious, targets = make_inputs(seed)
    frames = [literal_losses(logits[b, t], float(scores[b, t]), float(ious[b, t]), targets[b, t])
              for b in range(BATCH) for t in range(FRAMES)]
    expected = [sum(column) / len(frames) for column in zip(*frames, strict=True)]
    assert listed(mask_losses(logits, scores, ious, targets)) == pytest.approx(expected)


def test_total_has_the_weights_of_the_paper() -> None:
    losses = MaskLosses(*torch.tensor([2.0, 3.0, 5.0, 7.0]))
    total = total_loss(losses, torch.tensor(11.0), LossWeights())
    assert total.item() == pytest.approx(2 + 3 + 11 + 0.05 * 5 + 0.05 * 7)


def test_each_weight_is_that_of_its_term() -> None:
    losses = MaskLosses(*torch.tensor([2.0, 3.0, 5.0, 7.0]))
    weights = LossWeights(bce=10, dice=100, token=1000, occlusion=10000, iou=100000)
    assert total_loss(losses, torch.tensor(11.0), weights).item() == 20 + 300 + 11e3 + 5e4 + 7e5


def test_right_answers_cost_nothing() -> None:
    _, scores, _, targets = make_inputs(0)
    logits = torch.where(targets, 50.0, -50.0)
    visible = targets.flatten(2).any(2)
    scores = torch.where(visible, 50.0, -50.0)
    found = listed(mask_losses(logits, scores, visible.float(), targets))
    assert found == pytest.approx([0, 0, 0, 0], abs=2e-5)


def test_dice_of_an_object_that_is_not_there() -> None:
    nothing = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    one_pixel = torch.full((1, HEIGHT, WIDTH), -50.0)
    assert dice_loss(one_pixel, nothing).item() == pytest.approx(0, abs=1e-6)
    one_pixel[0, 1, 1] = 50
    assert dice_loss(one_pixel, nothing).item() == pytest.approx(1 - 1e-6 / (1e-3 + 1e-6))


def test_true_iou() -> None:
    logits = torch.full((3, 2, 2), -1.0)
    targets = torch.zeros(3, 2, 2, dtype=torch.bool)
    logits[1, 0] = 1
    targets[1, :, 0] = True
    logits[2], targets[2] = 1, True
    assert true_ious(logits, targets).tolist() == pytest.approx([0, 1 / 3, 1])


def test_gradients_lead_to_the_targets() -> None:
    logits, scores, ious, targets = make_inputs(1)
    for value in (logits, scores, ious):
        value.requires_grad_()
    losses = mask_losses(logits, scores, ious, targets)
    (losses.bce + losses.dice).backward(retain_graph=True)
    assert logits.grad is not None
    assert (logits.grad[targets] < 0).all()
    assert (logits.grad[~targets] > 0).all()
    before = logits.grad.clone()
    (losses.occlusion + losses.iou).backward()
    torch.testing.assert_close(logits.grad, before)
    assert scores.grad is not None
    assert ious.grad is not None
    assert ((scores.grad < 0) == targets.flatten(2).any(2)).all()
    assert ((ious.grad > 0) == (ious > true_ious(logits, targets))).all()


def test_half_precision_is_computed_with_in_full() -> None:
    torch.manual_seed(0)
    targets = torch.rand(1, 2, 64, 64) > 0.5
    logits = torch.randn(1, 2, 64, 64).bfloat16()
    scores, ious = torch.randn(1, 2).bfloat16(), torch.rand(1, 2).bfloat16()
    found = mask_losses(logits, scores, ious, targets)
    assert found.dice.dtype == torch.float32
    exact = mask_losses(logits.double(), scores.double(), ious.double(), targets)
    assert listed(found) == pytest.approx(listed(exact), rel=1e-5)


def test_shapes_that_do_not_fit_are_refused() -> None:
    logits, scores, ious, targets = make_inputs(0)
    with pytest.raises(ValueError, match='do not fit to targets'):
        mask_losses(logits, scores[:, :1], ious, targets)
    with pytest.raises(ValueError, match='do not fit to targets'):
        mask_losses(logits, scores, ious, targets[..., :3])
