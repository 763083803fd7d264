"""The end of every exported step: labels and reliability of the pixels, from coarse scores."""

from __future__ import annotations

import torch
from torch import Tensor

from vseg_ros.models.reliability import reliability_from_entropy, upsample


def label_and_reliability(scores: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """
    Upsample scores and find label and reliability (Eq. 2) of every pixel.

    With z the scores less their maximum, E = log sum exp z - sum z exp z / sum exp z. Sums over
    the classes are several times as fast as a softmax over them, which onnxruntime transposes for.

    Args:
        scores: logits or log probabilities, float32 [1, C, h, w], at most 255 classes.
        size: H and W.

    Returns:
        labels, uint8 [H, W]; reliability, float32 [H, W] in 0..1.

    """
    large = upsample(scores, size)
    shifted = large - large.amax(1, keepdim=True)
    weights = shifted.exp()
    total = weights.sum(1)
    entropy = total.log() - (weights * shifted).sum(1) / total
    # TensorRT turns floats into uint8, but no other numbers
    labels = large[0].argmax(0).float().to(torch.uint8)
    return labels, reliability_from_entropy(entropy)[0].clamp(0, 1)
