"""
Coarse prompts that are told instead of found, for training a mask decoder from nothing.

Not in the paper, whose mask decoder comes trained. A small one would have to learn to draw from
prompts that mostly lie on the wrong thing; for a share of the questions it is given the truth on
the prompt's grid, blurred, faded and noisy as what the second fusion sees is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_STRENGTH, MOST_STRENGTH = 0.5, 1.2
NOISE = 0.04
"""Largest standard deviation of the noise on a prompt."""


def tell_prompts(found: Tensor, masks: Tensor, share: float,
                 generator: torch.Generator) -> Tensor:
    """
    Put what is true in the place of what was found, for some of the samples.

    Args:
        found: coarse prompts, float [B, T, g, g], 0..1.
        masks: bool [B, T, n, n].
        share: how many of the samples are told, 0..1.
        generator: source of randomness.

    Returns:
        float [B, T, g, g], 0..1; where a sample was told, no gradient leads back to `found`.

    """
    truth = F.adaptive_avg_pool2d(masks.float(), (found.shape[-2], found.shape[-1]))
    blurred = F.avg_pool2d(truth, 3, 1, 1)
    draw = torch.rand(3, len(found), 1, 1, 1, generator=generator)
    truth = torch.where(draw[0] < 0.5, blurred, truth)
    truth = truth * (LEAST_STRENGTH + (MOST_STRENGTH - LEAST_STRENGTH) * draw[1])
    truth = truth + NOISE * draw[2] * torch.randn(truth.shape, generator=generator)
    told = torch.rand(len(found), 1, 1, 1, generator=generator) < share
    return torch.where(told, truth.clamp(0, 1).to(found.dtype), found)
