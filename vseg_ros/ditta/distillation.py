"""
Distillation label and loss (DiTTA, Sec. 3.2, Eq. 5).

Inside a tracked mask the label is the mask's class, elsewhere the image segmenter's own
prediction. Where the two agree, the segmenter's distribution may stand in part for its class.
Both branches, the plain and the temporal one, are trained on it by cross entropy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_WEIGHT = 5.0


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


def rarity_weights(labels: Sequence[Tensor], classes: int, power: float) -> Tensor:
    """
    Weigh classes by how rare they are in the warm-up: frequency ** -power.

    A segmenter that was trained with more weight on rare classes predicts more of them than it
    would by their frequency; distilled without such weights it forgets them within a few passes.

    Args:
        labels: distillation labels of all warm-up frames, int64 [H, W] each.
        classes: number of classes.
        power: 0 weighs all classes alike.

    Returns:
        float32 [classes], one on average over the labelled pixels, at most `LARGEST_WEIGHT`.

    """
    counts = torch.zeros(classes, device=labels[0].device)
    for label in labels:
        counts += torch.bincount(label[label < classes], minlength=classes)
    frequency = counts / counts.sum().clamp_min(1)
    weights = frequency.clamp_min(1e-4) ** -power
    return (weights / (weights * frequency).sum()).clamp_max(LARGEST_WEIGHT)


def distillation_loss(logits: Tensor, label: Tensor, ignore_id: int,
                      weights: Tensor | None = None) -> Tensor:
    """
    Cross entropy of one branch, averaged over *all* pixels.

    Args:
        logits: float [1, C, H, W].
        label: int64 [H, W]; pixels of `ignore_id` count as zero loss.
        ignore_id: id that is not learned.
        weights: float [C], weight of each class; None weighs all alike.

    Returns:
        scalar.

    """
    return F.cross_entropy(logits, label[None], weights, ignore_index=ignore_id,
                           reduction='sum') / label.numel()


def soft_distillation_loss(logits: Tensor, label: Tensor, source: Tensor, share: float,
                           ignore_id: int, weights: Tensor | None = None) -> Tensor:
    """
    Cross entropy with a soft label where the teacher has nothing to correct.

    A hard label makes a pixel of which the segmenter is unsure as sure as any other, and always
    to the benefit of the class that was ahead; thirty such steps drive out a class that is seldom
    ahead. Where the label is what the segmenter said anyway, its own distribution says it better;
    where the teacher disagrees, the label stays hard.

    Args:
        logits: float [1, C, H, W].
        label: int64 [H, W], as in `distillation_loss`.
        source: the segmenter's distribution before adaptation, float [1, C, H, W].
        share: weight of `source` where it agrees with the label, 0..1; with 0 this is
            `distillation_loss`.
        ignore_id: id that is not learned.
        weights: float [C], weight of each class of the hard labels; None weighs all alike.

    Returns:
        scalar, averaged over *all* pixels.

    """
    hard = F.cross_entropy(logits, label[None], weights, ignore_index=ignore_id, reduction='none')
    soft = F.cross_entropy(logits, source, reduction='none')
    soft_share = share * (source.argmax(1) == label).to(soft.dtype)
    return torch.lerp(hard, soft, soft_share).mean()
