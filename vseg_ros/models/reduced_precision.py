"""Weights of a frozen network in the number format that autocast multiplies them in."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar('Network', bound=nn.Module)
_MULTIPLIED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


def reduce_weights(network: Network, dtype: torch.dtype) -> Network:
    """
    Convert what linear and convolution layers multiply with, once instead of at every call.

    Under `torch.autocast` of the same format the network computes the same, bit for bit: autocast
    keeps converted weights only while gradients are wanted. Layers that stay exact, such as
    normalisations, keep their float32. A network that was converted can only be run so.

    Args:
        network: frozen; it is changed.
        dtype: number format; with float32 nothing happens.

    Returns:
        the network.

    """
    for module in network.modules():
        if isinstance(module, _MULTIPLIED):
            module.to(dtype)
    return network
