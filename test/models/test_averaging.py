"""Averaged weights against a literal loop; what is frozen keeps every bit."""

from __future__ import annotations

import copy

import torch
from torch import nn

from vseg_ros.models.averaging import average_weights


def test_average_is_the_recurrence() -> None:
    model = nn.Linear(2, 2)
    average = copy.deepcopy(model)
    wanted = model.weight.detach().clone()
    for step in range(30):
        with torch.no_grad():
            model.weight += torch.randn(2, 2)
        average_weights(average, model, 0.6, step)
        kept = min(0.6, (1 + step) / (10 + step))
        wanted = kept * wanted + (1 - kept) * model.weight.detach()
    torch.testing.assert_close(average.weight.detach(), wanted)


def test_statistics_are_averaged_and_counters_copied() -> None:
    model = nn.BatchNorm1d(2)
    average = copy.deepcopy(model)
    model(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    average_weights(average, model, 0.9, 0)
    torch.testing.assert_close(average.running_mean, 0.9 * model.running_mean)
    assert average.num_batches_tracked == 1


def test_frozen_weights_keep_every_bit() -> None:
    model = nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(-0.0)
    model.requires_grad_(False)
    average = copy.deepcopy(model)
    average_weights(average, model, 0.9, 1000)
    assert torch.signbit(average.weight).all()


def test_a_constant_mask_stays_as_it_is() -> None:
    model = nn.Module()
    model.register_buffer('mask', torch.tensor([0.0, -torch.inf]))
    average = copy.deepcopy(model)
    average_weights(average, model, 0.9, 1000)
    assert torch.equal(average.mask, model.mask)
