"""
Reliability-aware fusion of the plain and the temporal branch (DiTTA, Sec. 3.1, Eq. 3).

Where the plain branch is reliable (R >= tau) its distribution stands; elsewhere the two
distributions are mixed by their reliabilities:

    S' = R / (R + R_addon) S + R_addon / (R + R_addon) S_addon
"""

from __future__ import annotations

import torch
from torch import Tensor


def fusion_weight(plain: Tensor, addon: Tensor) -> Tensor:
    """
    Weight of the plain branch in Eq. 3.

    Args:
        plain: reliability of the plain branch, any shape, 0..1.
        addon: reliability of the temporal branch, same shape.

    Returns:
        same shape, 0..1; one half where both reliabilities are zero.

    """
    total = plain + addon
    return torch.where(total > 0, plain / total.clamp_min(torch.finfo(total.dtype).tiny),
                       torch.full_like(total, 0.5))


def fuse(plain: Tensor, addon: Tensor, plain_reliability: Tensor, addon_reliability: Tensor,
         tau: float) -> Tensor:
    """
    Eq. 3 on whole frames.

    Args:
        plain: class probabilities of the plain branch, float [B, C, H, W].
        addon: class probabilities of the temporal branch, same shape.
        plain_reliability: Eq. 2 of the plain branch, float [B, H, W].
        addon_reliability: Eq. 2 of the temporal branch, float [B, H, W].
        tau: reliability from which the plain branch stands alone, 0..1.

    Returns:
        class probabilities, float [B, C, H, W].

    """
    weight = fusion_weight(plain_reliability, addon_reliability)
    weight = torch.where(plain_reliability < tau, weight, torch.ones_like(weight)).unsqueeze(1)
    return weight * plain + (1 - weight) * addon
