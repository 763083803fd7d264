"""
Augmentation-averaged pseudo labels of CoTTA (Wang et al., CVPR 2022, Sec. 3.2, Eq. 3 to 5).

    y'_aug = 1/N sum_i teacher(aug_i(x))                                (3)
    y' = teacher(x) where conf(segmenter(x)) >= p_th, y'_aug elsewhere  (4)

For segmentation the augmentations are scales, each also mirrored, and the choice is made pixel by
pixel, as in the released segmentation code.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.baselines.learner import to_batch
from vseg_ros.models.labelling import resize_image
from vseg_ros.models.reliability import upsample
from vseg_ros.models.segmenter import ImageSegmenter

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
"""Scales of the released segmentation code."""


def class_probabilities(segmenter: ImageSegmenter, image: NDArray[np.uint8],
                        size: tuple[int, int]) -> Tensor:
    """Segment uint8 [h, w, 3]: float [1, C, H, W], probabilities at `size`."""
    batch = to_batch(image, segmenter.mean.device)
    return upsample(segmenter(batch).logits, size).softmax(1)


def augmented_probabilities(segmenter: ImageSegmenter, image: NDArray[np.uint8],
                            largest_scale: float) -> Tensor:
    """
    Eq. 3: probabilities averaged over scales and mirror images.

    Args:
        segmenter: the teacher.
        image: uint8 [H, W, 3].
        largest_scale: scales above it are left out.

    Returns:
        float [1, C, H, W].

    """
    size = (image.shape[0], image.shape[1])
    multiple = segmenter.size_multiple
    total, count = torch.zeros((), device=segmenter.mean.device), 0
    for scale in (scale for scale in SCALES if scale <= largest_scale):
        height, width = (max(round(side * scale / multiple), 1) * multiple for side in size)
        scaled = resize_image(image, (height, width))
        mirrored = np.ascontiguousarray(scaled[:, ::-1])
        total = total + class_probabilities(segmenter, scaled, size)
        total = total + class_probabilities(segmenter, mirrored, size).flip(3)
        count += 2
    return total / count


def choose_labels(plain: Tensor, averaged: Tensor, confidence: Tensor,
                  threshold: float) -> Tensor:
    """
    Eq. 4: the teacher's own probabilities where the segmenter is sure, averaged ones elsewhere.

    Args:
        plain: the teacher's probabilities, float [1, C, H, W].
        averaged: Eq. 3, likewise.
        confidence: the segmenter's highest probability, float [1, H, W].
        threshold: p_th, 0..1.

    Returns:
        float [1, C, H, W].

    """
    return torch.where((confidence > threshold)[:, None], plain, averaged)
