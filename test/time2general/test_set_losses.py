"""Matching by brute force, losses in loops, points where they ought to be, and a clip learnt."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.time2general import set_losses as module
from vseg_ros.time2general.set_losses import (
    ClipPrediction,
    class_loss,
    clip_targets,
    compared_points,
    deep_set_losses,
    match,
    set_losses,
    values_at,
)
from vseg_ros.training_settings import ClipLossSettings

IGNORED = 255


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


WEIGHTS = ClipLossSettings(class_weight=2, mask_weight=5, dice_weight=3, no_object=0.1)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def literal_pair(mask: Tensor, labels: Tensor, wanted: int) -> tuple[float, float]:
    """Cross entropy and Dice of one mask [T, H, W] with the tube of one class."""
    entropy = both = masks = truths = 0.0
    count = 0
    for logit, label in zip(mask.flatten().tolist(), labels.flatten().tolist(), strict=True):
        if label == IGNORED:
            continue
        truth = label == wanted
        entropy -= log_sigmoid(logit if truth else -logit)
        p = 1 / (1 + math.exp(-logit))
        both, masks, truths, count = both + p * truth, masks + p, truths + truth, count + 1
    return entropy / count, 1 - (2 * both + 1) / (masks + truths + 1)


def literal_match(classes: Tensor, masks: Tensor, labels: Tensor, weights: ClipLossSettings,
                  ) -> dict[int, int]:
    """Query -> class, the cheapest of all assignments."""
    present = sorted({int(label) for label in labels.flatten()} - {IGNORED})
    cost = {}
    for q in range(len(classes)):
        for k in present:
            entropy, dice = literal_pair(masks[q], labels, k)
            cost[q, k] = (-weights.class_weight * float(classes[q].softmax(0)[k])
                          + weights.mask_weight * entropy + weights.dice_weight * dice)
    queries = range(len(classes))
    if len(present) > len(classes):
        plans = (dict(enumerate(order))
                 for order in permutations(present, len(classes)))
    else:
        plans = (dict(zip(order, present, strict=True))
                 for order in permutations(queries, len(present)))
    return min(plans, key=lambda plan: sum(cost[pair] for pair in plan.items()))


def literal_losses(prediction: ClipPrediction, labels: Tensor, weights: ClipLossSettings,
                   ) -> dict[str, float]:
    total = mass = 0.0
    pairs = []
    for classes, masks, clip in zip(prediction.class_logits, prediction.mask_logits, labels,
                                    strict=True):
        if (clip == IGNORED).all():
            continue
        plan = literal_match(classes, masks, clip, weights)
        nothing = classes.shape[1] - 1
        for q in range(len(classes)):
            goal = plan.get(q, nothing)
            weight = weights.no_object if goal == nothing else 1.0
            total -= weight * float(classes[q].log_softmax(0)[goal])
            mass += weight
        pairs += [literal_pair(masks[q], clip, k) for q, k in plan.items()]
    return {'class': total / mass if mass else 0.0,
            'mask': sum(pair[0] for pair in pairs) / max(len(pairs), 1),
            'dice': sum(pair[1] for pair in pairs) / max(len(pairs), 1)}


def random_case(seed: int, batch: int = 2, queries: int = 4, classes: int = 3, frames: int = 2,
                size: tuple[int, int] = (3, 4), ignored: float = 0.2,
                ) -> tuple[ClipPrediction, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (batch, frames, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = IGNORED
    return ClipPrediction(
        2 * torch.randn(batch, queries, classes + 1, generator=generator, dtype=torch.float64),
        2 * torch.randn(batch, queries, frames, *size, generator=generator,
                        dtype=torch.float64)), labels


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), batch=st.integers(1, 3), queries=st.integers(1, 5),
       classes=st.integers(1, 4), frames=st.integers(1, 3),
       ignored=st.sampled_from([0.0, 0.4, 0.9, 1.0]))
def test_losses_are_the_literal_ones(seed: int, batch: int, queries: int, classes: int,
                                     frames: int, ignored: float) -> None:
    prediction, labels = random_case(seed, batch, queries, classes, frames, ignored=ignored)
    found = set_losses(prediction, labels, IGNORED, WEIGHTS)
    expected = literal_losses(prediction, labels, WEIGHTS)
    assert list(found) == ['class', 'mask', 'dice']
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize('seed', range(8))
def test_matching_is_the_cheapest(seed: int) -> None:
    prediction, labels = random_case(seed, 1, queries=5, classes=4, ignored=0.3)
    targets = clip_targets(labels[0], IGNORED)
    queries, numbers = match(prediction.class_logits[0], prediction.mask_logits[0], targets,
                             WEIGHTS)
    found = dict(zip(queries.tolist(), targets.classes[numbers].tolist(), strict=True))
    assert found == literal_match(prediction.class_logits[0], prediction.mask_logits[0],
                                  labels[0], WEIGHTS)


def test_each_weight_has_its_say_in_the_matching() -> None:
    """Query 0 has the class, 1 the outline, 2 the overlap of a small tube."""
    labels = torch.zeros(1, 10, 10, dtype=torch.long)
    labels[0, 0, :4] = 1
    classes = torch.zeros(3, 3)
    classes[0, 1] = 5
    masks = torch.full((3, 1, 10, 10), -4.0)
    masks[0] = 9
    masks[2, 0, :2] = 9
    masks[2, 0, 0, :4] = 30
    only = {'class_weight': 0.0, 'mask_weight': 0.0, 'dice_weight': 0.0}
    targets = clip_targets(torch.where(labels == 1, 1, 7), IGNORED)
    found = []
    for name in only:
        padded = F.pad(classes, (0, 7))
        queries, numbers = match(padded, masks, targets,
                                 ClipLossSettings.model_validate({**only, name: 1.0}))
        found.append(int(queries[numbers == 0]))
    assert found == [0, 1, 2]


@pytest.mark.parametrize('fine', [(8, 12), (16, 24), (11, 30), (4, 6)])
def test_values_are_those_of_the_enlarged_masks(fine: tuple[int, int]) -> None:
    masks = torch.randn(3, 2, 8, 12, dtype=torch.float64)
    enlarged = F.interpolate(masks, size=fine, mode='bilinear', align_corners=False)
    pixels = torch.randperm(2 * fine[0] * fine[1])
    torch.testing.assert_close(values_at(masks, pixels, (2, *fine)),
                               enlarged.flatten(1)[:, pixels])
    half = values_at(masks.bfloat16(), pixels, (2, *fine))
    assert half.dtype == torch.float32


def test_points_are_labelled_and_three_quarters_of_them_uncertain(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'POINTS', 400)
    labels = torch.zeros(2, 40, 60, dtype=torch.long)
    labels[:, :, 30:] = 1
    labels[:, 30:] = IGNORED
    targets = clip_targets(labels, IGNORED)
    # uncertain along one column, and where nothing is labelled
    ramp = (torch.arange(60.0) - 29.5).expand(2, 40, 60).clone()
    ramp[:, 30:] = 0
    values, tubes = compared_points(ramp[None], targets, torch.tensor([1]))
    assert values.shape == tubes.shape == (1, 400)
    torch.testing.assert_close(tubes, values > 0)
    assert (values[0, :300].abs() <= 11).all()
    assert values[0, 300:].abs().mean() == pytest.approx(15, abs=2)
    assert values[0].unique().numel() > 40


def test_drawn_points_estimate_the_losses_of_all_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, labels = random_case(3, size=(24, 32), ignored=0.3)
    full = set_losses(prediction, labels, IGNORED, WEIGHTS)
    monkeypatch.setattr(module, 'POINTS', 300)
    monkeypatch.setattr(module, 'UNCERTAIN', 0.0)
    torch.manual_seed(0)
    drawn = [set_losses(prediction, labels, IGNORED, WEIGHTS) for _ in range(40)]
    for name in ('mask', 'dice'):
        estimate = np.mean([float(losses[name]) for losses in drawn])
        assert estimate == pytest.approx(float(full[name]), rel=0.03), name


def test_one_seed_draws_the_same_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'POINTS', 50)
    prediction, labels = random_case(1, size=(16, 16))
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(float(set_losses(prediction, labels, IGNORED, WEIGHTS)['mask']))
    assert losses[0] == losses[1] != losses[2]


def test_a_pole_one_pixel_wide_is_not_lost_in_coarse_masks(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'POINTS', 200)
    labels = torch.zeros(1, 2, 48, 64, dtype=torch.long)
    labels[..., 33] = 5
    targets = clip_targets(labels[0], IGNORED)
    assert targets.classes.tolist() == [0, 5]
    masks = torch.full((2, 2, 12, 16), -8.0)
    masks[1, :, :, 8] = 8
    _, tubes = compared_points(masks, targets, torch.tensor([0, 1]))
    assert tubes[1].any()


def test_unlabelled_pixels_do_not_matter() -> None:
    prediction, labels = random_case(2, ignored=0.5)
    elsewhere = (labels == IGNORED)[:, None].expand_as(prediction.mask_logits)
    other = ClipPrediction(prediction.class_logits,
                           prediction.mask_logits.masked_fill(elsewhere, 77.0))
    leaf = prediction.mask_logits.clone().requires_grad_()
    losses = set_losses(ClipPrediction(prediction.class_logits, leaf), labels, IGNORED, WEIGHTS)
    (losses['mask'] + losses['dice']).backward()
    assert leaf.grad is not None
    assert (leaf.grad[elsewhere] == 0).all()
    assert (leaf.grad != 0).any()
    for name, value in set_losses(other, labels, IGNORED, WEIGHTS).items():
        torch.testing.assert_close(value, losses[name].detach())


def test_batch_without_a_label_has_losses_of_zero_with_a_gradient() -> None:
    prediction, labels = random_case(0)
    leaves = [prediction.class_logits.requires_grad_(), prediction.mask_logits.requires_grad_()]
    losses = set_losses(prediction, torch.full_like(labels, IGNORED), IGNORED, WEIGHTS)
    sum(losses.values()).backward()
    assert [float(value.detach()) for value in losses.values()] == [0, 0, 0]
    assert all((leaf.grad == 0).all() for leaf in leaves)


def test_class_loss_where_nothing_weighs() -> None:
    logits = torch.randn(3, 4)
    assert class_loss(logits, torch.tensor([3, 3, 3]), 0.0) == 0
    torch.testing.assert_close(class_loss(logits, torch.tensor([1, 3, 2]), 1.0),
                               F.cross_entropy(logits, torch.tensor([1, 3, 2])))


def test_deep_supervision_sums_the_blocks() -> None:
    cases = [random_case(seed) for seed in range(3)]
    labels = cases[0][1]
    predictions = [prediction for prediction, _ in cases]
    deep = deep_set_losses(predictions, labels, IGNORED, WEIGHTS)
    single = [set_losses(prediction, labels, IGNORED, WEIGHTS) for prediction in predictions]
    for name, value in deep.items():
        torch.testing.assert_close(value, sum(losses[name] for losses in single))


def test_diverged_prediction_is_said_to_be() -> None:
    prediction, labels = random_case(0)
    prediction.mask_logits[0, 0, 0, 0, 0] = math.nan
    labels[0, 0, 0, 0] = 0
    with pytest.raises(UserError, match='not finite: choose a smaller learning_rate'):
        set_losses(prediction, labels, IGNORED, WEIGHTS)


def test_half_precision() -> None:
    prediction, labels = random_case(4)
    half = ClipPrediction(prediction.class_logits.bfloat16(), prediction.mask_logits.bfloat16())
    exact = ClipPrediction(half.class_logits.float(), half.mask_logits.float())
    with torch.autocast('cpu', torch.bfloat16):
        found = set_losses(half, labels, IGNORED, WEIGHTS)
    for name, value in set_losses(exact, labels, IGNORED, WEIGHTS).items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_free_parameters_learn_a_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight queries take up five tubes of a clip four times as fine; the rest stay empty."""
    monkeypatch.setattr(module, 'POINTS', 512)
    torch.manual_seed(0)
    labels = torch.zeros(1, 2, 48, 64, dtype=torch.long)
    labels[:, :, 20:] = 1
    labels[:, 0, 24:40, 8:24] = 2
    labels[:, 1, 24:40, 16:32] = 2
    labels[..., 4:40, 48:52] = 3
    labels[:, :, 0:12, 20:36] = 4
    labels[:, :, 44:] = IGNORED
    classes = torch.randn(1, 8, 6).requires_grad_()
    masks = torch.randn(1, 8, 2, 12, 16).requires_grad_()
    optimizer = torch.optim.Adam([classes, masks], lr=0.2)
    for _ in range(120):
        losses = set_losses(ClipPrediction(classes, masks), labels, IGNORED, WEIGHTS)
        loss = 2 * losses['class'] + 5 * losses['mask'] + 5 * losses['dice']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    enlarged = F.interpolate(masks[0], size=(48, 64), mode='bilinear', align_corners=False)
    scores = torch.einsum('qk,qthw->tkhw', classes[0].softmax(1)[:, :-1], enlarged.sigmoid())
    found, labelled = scores.argmax(1), labels[0] != IGNORED
    assert (found == labels[0])[labelled].float().mean() > 0.97
    pole = labels[0] == 3
    assert (found == 3)[pole].float().mean() > 0.9
    assert sorted(classes[0].argmax(1).tolist()) == [0, 1, 2, 3, 4, 5, 5, 5]
