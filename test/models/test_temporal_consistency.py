"""The Masked Temporal Consistency Loss, Eq. 7 to 11, pixel by pixel."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vseg_ros.models.temporal_consistency import (
    masked_temporal_consistency,
    stable_differences,
    stable_pixels,
    temporal_difference,
    trimmed_mean,
)

IGNORED = 255


def literal_loss(logits: Tensor, labels: Tensor, trim: str, decay: float,
                 scales: int | None = None) -> Tensor:
    """Follow Eq. 7 to 11 in loops; an element of the sum is a tensor, for its gradient."""
    batch, frames, classes, height, width = logits.shape
    terms = []
    scale = 0
    while 2 ** scale < frames and (scales is None or scale < scales):
        stride = 2 ** scale
        stable = []
        for b in range(batch):
            for t in range(frames - stride):
                for y in range(height):
                    for x in range(width):
                        before, after = int(labels[b, t, y, x]), int(labels[b, t + stride, y, x])
                        if IGNORED in (before, after) or before != after:
                            continue
                        p, q = (logits[b, time, :, y, x].exp()
                                / logits[b, time, :, y, x].exp().sum()
                                for time in (t, t + stride))
                        stable.append(sum((abs(q[k] - p[k]) for k in range(classes)),
                                          logits.new_zeros(())))
        if stable:
            stable.sort(key=lambda value: float(value.detach()))
            kept = math.ceil((1 - Fraction(trim)) * len(stable))
            terms.append(decay ** scale * sum(stable[:kept]) / kept)
        scale += 1
    return sum(terms, logits.new_zeros(())) / max(len(terms), 1)


def random_clip(seed: int, shape: tuple[int, ...], classes: int = 3,
                ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch, frames, height, width = shape
    logits = torch.randn(batch, frames, classes, height, width, generator=generator,
                         dtype=torch.float64)
    labels = torch.randint(2, shape, generator=generator)
    labels[torch.rand(shape, generator=generator) < ignored] = IGNORED
    return logits, labels


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), batch=st.integers(1, 2), frames=st.integers(1, 6),
       height=st.integers(1, 3), width=st.integers(1, 3), classes=st.integers(1, 4),
       trim=st.sampled_from(['0', '0.1', '0.2', '0.3', '0.29', '0.99']),
       decay=st.sampled_from([0.5, 1.0, 0.25]), ignored=st.sampled_from([0.0, 0.3, 1.0]),
       scales=st.sampled_from([None, 1, 2, 9]))
def test_loss_is_equations_7_to_11(seed: int, batch: int, frames: int, height: int, width: int,
                                   classes: int, trim: str, decay: float, ignored: float,
                                   scales: int | None) -> None:
    logits, labels = random_clip(seed, (batch, frames, height, width), classes, ignored)
    found = masked_temporal_consistency(logits, labels, IGNORED, trim=float(trim), decay=decay,
                                        scales=scales)
    expected = literal_loss(logits, labels, trim, decay, scales)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('seed', range(3))
def test_gradient_is_the_literal_one(seed: int) -> None:
    logits, labels = random_clip(seed, (2, 5, 3, 4))
    gradients = []
    for loss in (lambda x: masked_temporal_consistency(x, labels, IGNORED),
                 lambda x: literal_loss(x, labels, '0.2', 0.5)):
        leaf = logits.clone().requires_grad_()
        loss(leaf).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
    assert (gradients[0] != 0).any()


def test_gradient_by_finite_differences() -> None:
    logits, labels = random_clip(5, (1, 3, 2, 2), ignored=0.1)
    assert torch.autograd.gradcheck(
        lambda x: masked_temporal_consistency(x, labels, IGNORED), logits.requires_grad_())


def test_parts() -> None:
    certain = torch.eye(3)[torch.tensor([0, 0, 2, 1])][None, :, :, None, None]
    assert temporal_difference(certain, 1).flatten().tolist() == [0, 2, 2]
    assert temporal_difference(certain, 2).flatten().tolist() == [2, 2]
    labels = torch.tensor([4, 4, IGNORED, IGNORED, 4, 5])[None, :, None, None]
    stable = stable_pixels(labels, 1, IGNORED)
    assert stable.flatten().tolist() == [True, False, False, False, False]
    assert stable_pixels(labels, 4, IGNORED).flatten().tolist() == [True, False]
    still = torch.tensor([0, 0, 1, 0])[None, :, None, None]
    assert stable_differences(certain, still, 1, IGNORED).tolist() == [0]


@pytest.mark.parametrize(('count', 'trim', 'kept'), [
    (10, 0.2, 8), (11, 0.2, 9), (4, 0.2, 4), (5, 0.2, 4), (1, 0.99, 1), (100, 0.29, 71),
    (30, 0.1, 27), (7, 0.0, 7)])
def test_number_of_values_that_are_kept(count: int, trim: float, kept: int) -> None:
    values = (2.0 ** torch.arange(count, dtype=torch.float64)).flip(0)
    expected = sum(2.0 ** i for i in range(kept)) / kept
    assert trimmed_mean(values, trim) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('labels', [
    torch.full((1, 4, 2, 2), IGNORED), torch.arange(4)[None, :, None, None].expand(1, 4, 2, 2)])
def test_clip_without_a_stable_pixel(labels: Tensor) -> None:
    logits = torch.randn(1, 4, 5, 2, 2, requires_grad=True)
    loss = masked_temporal_consistency(logits, labels, IGNORED)
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_half_precision_is_computed_in_float32() -> None:
    logits, labels = random_clip(1, (1, 4, 16, 16), 15)
    half = logits.bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        found = masked_temporal_consistency(half, labels, IGNORED)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found, masked_temporal_consistency(half.float(), labels, IGNORED), rtol=1e-6, atol=0)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([1e4, -1e4]).repeat(8)[None, :, None, None, None].repeat(1, 1, 3, 2, 2)
    logits[:, :, 0] *= -1
    logits.requires_grad_()
    loss = masked_temporal_consistency(logits, torch.zeros(1, 16, 2, 2).long(), IGNORED)
    loss.backward()
    assert 0 < loss <= 2
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_what_does_not_fit() -> None:
    logits, labels = random_clip(0, (1, 4, 3, 3))
    with pytest.raises(ValueError, match=r'trim is 1\.0'):
        masked_temporal_consistency(logits, labels, IGNORED, trim=1.0)
    with pytest.raises(ValueError, match='do not fit'):
        masked_temporal_consistency(logits, labels[..., :2], IGNORED)
