"""Eq. 2 spelled out pixel by pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vseg_ros.models.reliability import entropy, reliability, reliability_from_entropy, upsample


def literal_entropy(probabilities: Tensor) -> float:
    return -sum(float(p) * math.log(float(p)) for p in probabilities if p > 0)


def test_is_equation_2() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, 5, 4, 6, dtype=torch.float64)
    found = reliability(logits.log_softmax(1))
    assert found.shape == (2, 4, 6)
    for image, probabilities in enumerate(logits.softmax(1)):
        entropies = torch.tensor([[literal_entropy(probabilities[:, y, x]) for x in range(6)]
                                  for y in range(4)], dtype=torch.float64)
        torch.testing.assert_close(entropy(logits.log_softmax(1))[image], entropies)
        torch.testing.assert_close(found[image], 1 - entropies / entropies.max())


def test_the_least_sure_pixel_of_each_frame_has_none() -> None:
    torch.manual_seed(0)
    found = reliability(torch.randn(3, 4, 5, 6).log_softmax(1))
    assert (found.amin((1, 2)) == 0).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_a_frame_that_is_certain_everywhere_is_reliable_everywhere() -> None:
    logits = torch.zeros(1, 3, 2, 2)
    logits[:, 1] = 1000
    assert (reliability(logits.log_softmax(1)) == 1).all()
    assert (reliability_from_entropy(torch.zeros(1, 2, 2)) == 1).all()


def test_entropy_of_the_uniform_distribution() -> None:
    uniform = torch.zeros(1, 8, 2, 3).log_softmax(1)
    torch.testing.assert_close(entropy(uniform), torch.full((1, 2, 3), math.log(8)))


def test_upsampling_keeps_pixel_centres_in_place() -> None:
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    sized = upsample(ramp, (8, 8))[0, 0, 0]
    torch.testing.assert_close(sized, torch.tensor([0, .25, .75, 1.25, 1.75, 2.25, 2.75, 3]))
