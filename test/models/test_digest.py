"""A fingerprint that changes with every weight and with nothing else."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

from vseg_ros.models.digest import digest


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_equal_weights_have_one_fingerprint(network: nn.Module) -> None:
    first = digest(network)
    assert re.fullmatch('[0-9a-f]{16}', first)
    assert digest(copy.deepcopy(network).eval().requires_grad_(False)) == first
    network[0].to(memory_format=torch.channels_last)
    assert digest(network) == first


@pytest.mark.parametrize('name', ['0.weight', '0.bias', '1.running_var', '1.num_batches_tracked'])
def test_every_weight_and_buffer_counts(network: nn.Module, name: str) -> None:
    first = digest(network)
    network.state_dict()[name].view(-1)[-1] += 1
    assert digest(network) != first


def test_names_count(network: nn.Module) -> None:
    assert digest(nn.Sequential(network)) != digest(network)
