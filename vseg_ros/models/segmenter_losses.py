"""
Losses that train the image segmenter.

Cross entropy weighted by rarity finds rare classes, at the price of false alarms; the soft
Jaccard loss is the mean IoU itself, with probabilities for counts, and settles the balance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor,
                           ignore_id: int) -> Tensor:
    """
    Average cross entropy over the labelled pixels; zero where none is labelled.

    Args:
        logits: float [B, C, H, W].
        labels: int64 [B, H, W].
        weights: float [C], one a class.
        ignore_id: label of the pixels that do not count.

    Returns:
        float scalar.

    """
    total = F.cross_entropy(logits, labels, weights, ignore_index=ignore_id, reduction='sum')
    mass = weights[labels[labels != ignore_id]].sum()
    return total / mass.clamp_min(torch.finfo(mass.dtype).tiny)


def soft_jaccard_loss(logits: Tensor, labels: Tensor, ignore_id: int) -> Tensor:
    """
    One minus the mean soft IoU over the classes that the labels of the batch show.

    The soft IoU of a class is sum(p y) / sum(p + y - p y) over the labelled pixels of the whole
    batch, with p its probability and y its indicator (Rahman & Wang, *Optimizing Intersection-
    Over-Union in Deep Neural Networks for Image Segmentation*, ISVC 2016, Eq. 2 and 3).

    Args:
        logits: float [B, C, H, W].
        labels: int64 [B, H, W].
        ignore_id: label of the pixels that do not count.

    Returns:
        float scalar, 0..1; zero where no pixel is labelled.

    """
    classes = logits.shape[1]
    labelled = (labels != ignore_id).unsqueeze(1)
    truth = F.one_hot(labels.where(labels != ignore_id, 0), classes).movedim(-1, 1) * labelled
    probability = logits.softmax(1) * labelled
    both = (probability * truth).sum((0, 2, 3))
    shown = truth.sum((0, 2, 3))
    union = probability.sum((0, 2, 3)) + shown - both
    present = shown > 0
    if not present.any():
        return logits.sum() * 0
    return 1 - (both[present] / union[present]).mean()
