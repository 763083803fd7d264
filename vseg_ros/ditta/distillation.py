"""
Distillation label and loss (DiTTA, Sec. 3.2, Eq. 5).

Inside a tracked mask the label is the mask's class, elsewhere the image segmenter's own
prediction. Both branches, the plain and the temporal one, are trained on it by cross entropy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distillation_label(objects: Tensor, classes: dict[int, int], predicted: Tensor) -> Tensor:
    """
    Paint the classes of the tracked masks over the segmenter's prediction.

    Args:
        objects: int64 [H, W], object ids; 0 is no object.
        classes: class of each object id; an object without a class leaves the prediction.
        predicted: the image segmenter's labels, int64 [H, W].

    Returns:
        int64 [H, W].

    """
    label = predicted.clone()
    for object_id in torch.unique(objects).tolist():
        if object_id and object_id in classes:
            label[objects == object_id] = classes[object_id]
    return label


def distillation_loss(logits: Tensor, label: Tensor, ignore_id: int) -> Tensor:
    """
    Cross entropy of one branch, averaged over *all* pixels.

    Args:
        logits: float [1, C, H, W].
        label: int64 [H, W]; pixels of `ignore_id` count as zero loss.
        ignore_id: id that is not learned.

    Returns:
        scalar.

    """
    return F.cross_entropy(logits, label[None], ignore_index=ignore_id,
                           reduction='sum') / label.numel()
