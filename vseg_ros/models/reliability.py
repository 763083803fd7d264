"""
Reliability of a prediction from its entropy (DiTTA, Sec. 3.1, Eq. 2).

    R(x, y) = 1 - E(x, y) / max E

E is the entropy of the class distribution of a pixel, the maximum is taken over the frame. The
most uncertain pixel of every frame therefore has reliability 0: R ranks the pixels of one frame
and is not a calibrated probability.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [B, C, h, w] bilinearly to `size`, pixel centres kept in place."""
    return F.interpolate(logits, size=size, mode='bilinear', align_corners=False)


def entropy(log_probabilities: Tensor) -> Tensor:
    """
    Entropy of the class distribution of each pixel.

    Args:
        log_probabilities: float [B, C, H, W], log of a distribution over C.

    Returns:
        float [B, H, W] in nats, 0..log C.

    """
    return -(log_probabilities.exp() * log_probabilities).sum(1)


def reliability_from_entropy(values: Tensor) -> Tensor:
    """Eq. 2 on a batch of entropy maps, float [B, H, W] -> [B, H, W] in 0..1."""
    highest = values.amax(dim=(-2, -1), keepdim=True)
    return 1 - values / highest.clamp_min(torch.finfo(values.dtype).tiny)


def reliability(log_probabilities: Tensor) -> Tensor:
    """
    Eq. 2: how sure the segmenter is of each pixel, relative to its frame.

    Args:
        log_probabilities: float [B, C, H, W].

    Returns:
        float [B, H, W] in 0..1.

    """
    return reliability_from_entropy(entropy(log_probabilities))
