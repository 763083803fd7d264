"""What a model that starts from nothing is told, each loss against plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from vseg_ros.virst.hints import (
    EMPTY_ROWS,
    ROWS,
    choice_loss,
    grounding_loss,
    share_loss,
    things_loss,
)
from vseg_ros.virst.things import Sameness


def test_grounding_loss_cell_by_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    heat = torch.randn(2, 2, 2, 2, generator=generator)
    masks = torch.rand(2, 2, 4, 4, generator=generator) < 0.4
    masks[1] = False
    entropy = weights = 0.0
    dice = []
    for sample in range(2):
        both = probabilities = shares = 0.0
        for frame in range(2):
            for row in range(2):
                for column in range(2):
                    cell = masks[sample, frame, 2 * row:2 * row + 2, 2 * column:2 * column + 2]
                    share = float(cell.float().mean())
                    p = 1 / (1 + math.exp(-float(heat[sample, frame, row, column])))
                    weight = 1 + 9 * share
                    entropy -= weight * (share * math.log(p) + (1 - share) * math.log(1 - p))
                    weights += weight
                    both, probabilities, shares = both + p * share, probabilities + p, (
                        shares + share)
        if masks[sample].any():
            dice.append(1 - (2 * both + 0.1) / (probabilities + shares + 0.1))
    assert len(dice) == 1
    assert float(grounding_loss(heat, masks)) == pytest.approx(
        entropy / weights + sum(dice) / len(dice), rel=1e-5)
    assert torch.isfinite(grounding_loss(heat, torch.zeros_like(masks)))


def test_choice_is_a_softmax_over_the_means_of_things() -> None:
    generator = torch.Generator().manual_seed(1)
    heat = torch.randn(4, 2, 3, 3, generator=generator)
    shares = torch.rand(3, 2, 3, 3, generator=generator)
    shares[2] = 0  # not in view
    meant = [0, -1, 1, 2]
    losses = []
    for question, thing in enumerate(meant):
        if thing in (-1, 2):
            continue
        means = []
        for other in range(2):
            looked = filled = 0.0
            for frame in range(2):
                for row in range(3):
                    for column in range(3):
                        share = float(shares[other, frame, row, column])
                        looked += share * float(heat[question, frame, row, column])
                        filled += share
            means.append(looked / filled)
        losses.append(math.log(sum(math.exp(each - means[thing]) for each in means)))
    found = choice_loss(heat, shares, meant)
    assert found is not None
    assert float(found) == pytest.approx(sum(losses) / 2, rel=1e-5)
    assert choice_loss(heat, shares, [-1, -1, -1, 2]) is None


def test_things_are_compared_by_some_of_their_cells() -> None:
    """What is right costs little; what is told of one thing costs less than of all as one."""
    shares = torch.zeros(3, 2, 4, 4)
    shares[0, :, :2, :2], shares[1, :, 2:, 1:3] = 1, 1  # the third is not in view
    which = torch.full((32,), 2)
    for thing in range(2):
        which[shares[thing].flatten() > 0] = thing
    of_its_own = torch.eye(3)[which][None]
    of_its_own[0, which == 2] = 0
    as_one = of_its_own.sum(-1, keepdim=True).expand(-1, -1, 3) / 3

    def cost(embedding: torch.Tensor) -> float:
        same = Sameness(40 * embedding, embedding, torch.tensor(-10.0))
        found = things_loss([same], [shares], torch.Generator().manual_seed(0))
        assert found is not None
        return float(found)

    right, wrong = cost(of_its_own), cost(as_one)
    assert right < 0.01
    assert wrong > 50 * right
    assert things_loss([Sameness(as_one, as_one, torch.zeros(()))], [torch.zeros(1, 2, 4, 4)],
                       torch.Generator()) is None


def test_cells_without_a_thing_are_alike_to_none() -> None:
    """Of one thing in the only cell that shows it, the loss is known."""
    shares = torch.zeros(1, 1, 2, 2)
    shares[0, 0, 0, 0] = 1
    generator = torch.Generator().manual_seed(0)
    same = Sameness(torch.randn(1, 4, 5, generator=generator),
                    torch.randn(1, 4, 5, generator=generator), torch.tensor(0.3))
    logits = same.compare(torch.arange(4)[None])[0]
    empty = torch.Generator().manual_seed(0)
    torch.multinomial(shares.flatten(1), ROWS, replacement=True, generator=empty)
    rows = [0] * ROWS + (1 + torch.randint(3, (EMPTY_ROWS,), generator=empty)).tolist()
    targets = torch.zeros(len(rows), 4)
    targets[:ROWS, 0] = 1
    expected = share_loss(logits[rows], targets)
    found = things_loss([same], [shares], torch.Generator().manual_seed(0))
    assert found is not None
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    entropy = -sum(float(logsigmoid(logits[row, cell] * (1 if row == cell == 0 else -1)))
                   * (10 if row == cell == 0 else 1) for row in rows for cell in range(4))
    assert float(expected) > entropy / (4 * len(rows) + 9 * ROWS) - 1e-5
