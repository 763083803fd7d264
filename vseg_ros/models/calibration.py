"""
Set the biases of a trained classifier for the mean IoU.

Training weighs rare classes up, which finds them at the price of false alarms: each class ends
at its own balance of the two, and not at the one that its IoU is best at. One offset a class,
added to the classifier's bias, moves that balance. The offsets are found by coordinate ascent on
training images; a class that those do not show keeps its bias.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vseg_ros.models.augmentation import LabelledImage
from vseg_ros.models.segmenter import ImageSegmenter

Float32Array = NDArray[np.float32]
CANDIDATES = (-1.2, -0.8, -0.5, -0.3, -0.15, 0.15, 0.3, 0.5, 0.8, 1.2)
ROUNDS = 3


@torch.no_grad()
def gather_logits(segmenter: ImageSegmenter, images: Sequence[LabelledImage],
                  ) -> tuple[Float32Array, NDArray[np.uint8]]:
    """
    Collect logits and labels at the resolution of the logits.

    Args:
        segmenter: the trained network.
        images: labelled images, whatever their size.

    Returns:
        float32 [C, n], logits of every labelled place; uint8 [n], its class.

    """
    classes = len(segmenter.label_set)
    logits, labels = [], []
    for image in images:
        upload = torch.tensor(image.image, device=segmenter.mean.device)[None]
        found = segmenter(upload).logits[0].float().cpu().numpy()
        height, width = found.shape[1:]
        rows = ((np.arange(height) + 0.5) * image.labels.shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * image.labels.shape[1] / width).astype(int)
        seen = image.labels[rows][:, columns]
        logits.append(found[:, seen < classes])
        labels.append(seen[seen < classes])
    return np.concatenate(logits, axis=1), np.concatenate(labels)


def mean_iou(scores: Float32Array, labels: NDArray[np.uint8]) -> float:
    """Mean IoU over the classes in `labels` of the best scores, float32 [C, n] against [n]."""
    classes = len(scores)
    pairs = labels.astype(np.int64) * classes + scores.argmax(0)
    confusion = np.bincount(pairs, minlength=classes ** 2).reshape(classes, classes)
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    present = confusion.sum(1) > 0
    return float((hits[present] / union[present]).mean())


def best_offsets(logits: Float32Array, labels: NDArray[np.uint8]) -> Float32Array:
    """
    Find the offset of each class that gives the best mean IoU.

    Args:
        logits: float32 [C, n].
        labels: uint8 [n].

    Returns:
        float32 [C]; zero for a class that `labels` does not hold.

    """
    offsets = np.zeros(len(logits), np.float32)
    scores = logits.copy()
    best = mean_iou(scores, labels)
    for _ in range(ROUNDS):
        for label in np.unique(labels):
            start, chosen = float(offsets[label]), float(offsets[label])
            for step in CANDIDATES:
                scores[label] = logits[label] + start + step
                score = mean_iou(scores, labels)
                if score > best:
                    best, chosen = score, start + step
            offsets[label] = chosen
            scores[label] = logits[label] + chosen
    return offsets


@torch.no_grad()
def calibrate(segmenter: ImageSegmenter, images: Sequence[LabelledImage]) -> Float32Array:
    """
    Add the best offsets to the classifier's bias, in place.

    Args:
        segmenter: a trained SegFormer.
        images: training images.

    Returns:
        the offsets, float32 [C].

    """
    offsets = best_offsets(*gather_logits(segmenter, images))
    bias: torch.Tensor = segmenter.decoder.head.classifier.bias  # type: ignore[union-attr,assignment]
    bias += torch.from_numpy(offsets).to(bias.device)
    return offsets
