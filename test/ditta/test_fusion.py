"""Reliability (Eq. 2) and fusion (Eq. 3), pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vseg_ros.ditta.fusion import fuse, fusion_weight
from vseg_ros.models.reliability import reliability

CLASSES, HEIGHT, WIDTH = 5, 6, 7


def literal_reliability(probabilities: Tensor) -> Tensor:
    """Eq. 2 of one frame, [C, H, W] -> [H, W]."""
    entropy = torch.zeros(probabilities.shape[1:], dtype=torch.float64)
    for y in range(entropy.shape[0]):
        for x in range(entropy.shape[1]):
            entropy[y, x] = -sum(p * math.log(p) for p in probabilities[:, y, x].tolist() if p)
    return 1 - entropy / entropy.max()


def literal_fusion(plain: Tensor, addon: Tensor, tau: float) -> Tensor:
    """Eq. 3 of one frame, [C, H, W] each."""
    sure, addon_sure = literal_reliability(plain), literal_reliability(addon)
    fused = plain.clone()
    for y in range(plain.shape[1]):
        for x in range(plain.shape[2]):
            here, there = float(sure[y, x]), float(addon_sure[y, x])
            if here < tau:
                fused[:, y, x] = (here * plain[:, y, x] + there * addon[:, y, x]) / (here + there)
    return fused


def random_logits(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(2, CLASSES, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('seed', range(5))
def test_reliability_is_equation_2(seed: int) -> None:
    logits = random_logits(seed)
    expected = torch.stack([literal_reliability(frame) for frame in logits.softmax(1)])
    torch.testing.assert_close(reliability(logits.log_softmax(1)), expected)


def test_the_least_certain_pixel_of_every_frame_has_reliability_zero() -> None:
    sure = reliability(random_logits(0).log_softmax(1))
    assert sure.amin((1, 2)).tolist() == [0, 0]
    assert sure.max() <= 1


def test_a_frame_without_any_doubt_is_fully_reliable() -> None:
    logits = torch.zeros(1, CLASSES, HEIGHT, WIDTH)
    logits[:, 2] = 1e4
    assert (reliability(logits.log_softmax(1)) == 1).all()


@pytest.mark.parametrize('tau', [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize('seed', range(3))
def test_fusion_is_equation_3(seed: int, tau: float) -> None:
    plain, addon = random_logits(seed).softmax(1).split(1)
    fused = fuse(plain, addon, reliability(plain.log()), reliability(addon.log()), tau)
    torch.testing.assert_close(fused[0], literal_fusion(plain[0], addon[0], tau))


def test_reliable_pixels_are_left_exactly_as_they_are() -> None:
    plain, addon = random_logits(1).softmax(1).split(1)
    sure = torch.full((1, HEIGHT, WIDTH), 0.8, dtype=torch.float64)
    assert torch.equal(fuse(plain, addon, sure, sure, tau=0.8), plain)
    assert not torch.equal(fuse(plain, addon, sure - 1e-9, sure, tau=0.8), plain)


def test_two_branches_that_know_nothing_count_alike() -> None:
    nothing = torch.zeros(3)
    assert fusion_weight(nothing, nothing).tolist() == [0.5, 0.5, 0.5]
    assert fusion_weight(nothing, nothing + 0.1).tolist() == [0, 0, 0]
