"""Which share of cells (4 x 4 pixels) is weak: below tau, where DiTTA computes the add-on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vseg_ros.models.reliability import reliability


def cell_reliability(logits: Tensor) -> Tensor:
    """
    Tell how sure a network is of each cell (Eq. 2).

    Args:
        logits: of one frame, float32 [1, C, h, w].

    Returns:
        float32 [h, w], 0..1.

    """
    return reliability(logits.log_softmax(1))[0]


def weak_share(maps: Sequence[Tensor], tau: float) -> float:
    """
    Say how much of some frames is weak.

    Args:
        maps: reliability of each frame, float32 [h, w].
        tau: below it a cell is weak.

    Returns:
        share of cells, 0..1.

    """
    return float((torch.stack(list(maps)) < tau).float().mean())


def tau_for_share(reliable: Tensor, share: float) -> float:
    """
    Find the tau below which so many cells lie.

    Args:
        reliable: reliability of a frame, float32 [h, w].
        share: wanted, 0..1.

    Returns:
        tau, 0..1; none is below the least reliability there is.

    """
    return float(reliable.flatten().kthvalue(max(1, round(share * reliable.numel()))).values)
