"""Which thing a cell shows, and the loss of what visual tokens tell, both against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from vseg_ros.virst.claims import (
    EMPTY_WEIGHT,
    LEAST_SHARE,
    TRUE_WEIGHT,
    ThingClaims,
    claim_loss,
    claim_targets,
    shown_things,
    thing_shares,
)

NAN = math.nan


def test_a_cell_shows_the_thing_that_fills_most_of_it() -> None:
    generator = torch.Generator().manual_seed(0)
    regions = torch.randint(0, 4, (2, 12, 12), generator=generator)
    regions[0, :4, :4] = 0
    numbers = torch.tensor([3, 1, 9])
    shown = shown_things(thing_shares(regions, numbers, 3))
    for frame in range(2):
        for row in range(3):
            for column in range(3):
                cell = regions[frame, 4 * row:4 * row + 4, 4 * column:4 * column + 4]
                shares = [int((cell == number).sum()) / 16 for number in numbers.tolist()]
                best = shares.index(max(shares))
                expected = best if max(shares) > LEAST_SHARE else 3
                assert int(shown[frame, row, column]) == expected
    assert int(shown[0, 0, 0]) == 3


def test_a_sliver_of_a_thing_is_not_shown() -> None:
    regions = torch.zeros(1, 8, 8, dtype=torch.int64)
    regions[0, 0, :6] = 5  # 6 of 64 pixels are less than a tenth
    assert shown_things(thing_shares(regions, torch.tensor([5]), 1)).tolist() == [[[1]]]
    regions[0, 0, :7] = 5
    assert shown_things(thing_shares(regions, torch.tensor([5]), 1)).tolist() == [[[0]]]


def test_targets_are_what_holds_of_the_thing_or_of_nothing() -> None:
    regions = torch.tensor([[[4, 4, 0, 0], [4, 4, 0, 0]] * 2])
    claims = ThingClaims(torch.tensor([4]), torch.tensor([[1.0, NAN, 0.0]]),
                         torch.tensor([0.0, NAN, NAN]))
    targets = claim_targets(thing_shares(regions, claims.regions, 2), claims)
    expected = torch.tensor([[[[1, NAN, 0], [0, NAN, NAN]]] * 2])
    torch.testing.assert_close(targets, expected, equal_nan=True)
    none = ThingClaims(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3), claims.nothing)
    torch.testing.assert_close(claim_targets(thing_shares(regions, none.regions, 1), none),
                               claims.nothing.view(1, 1, 1, 3), equal_nan=True)


def test_loss_claim_by_claim() -> None:
    logits = torch.tensor([[0.3, -1.2, 2.0], [0.5, 0.1, -0.7]])
    targets = torch.tensor([[1.0, 0.0, NAN], [0.0, NAN, 0.0]])
    total = weights = 0.0
    for row, truths in zip(logits.tolist(), targets.tolist(), strict=True):
        shows_a_thing = 1.0 in truths
        for logit, truth in zip(row, truths, strict=True):
            if math.isnan(truth):
                continue
            p = 1 / (1 + math.exp(-logit))
            weight = (1 if shows_a_thing else EMPTY_WEIGHT) * (TRUE_WEIGHT if truth else 1)
            total -= weight * math.log(p if truth else 1 - p)
            weights += weight
    assert weights < 4.3
    assert float(claim_loss(logits, targets)) == pytest.approx(
        total / max(weights, 1), rel=1e-5)


def test_nothing_but_doubts_costs_nothing() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = claim_loss(logits, torch.full((2, 3), NAN))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
