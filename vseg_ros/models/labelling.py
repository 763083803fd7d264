"""
From logits at 1/4 resolution to labels and reliability at the size of the frame.

Logits are upsampled to the segmenter's input and there turned into labels and entropy, on a
processor a strip of rows at a time (`strip_scoring.py`). Labels are those of the interpolated
scores; a frame that is larger than the input gets its labels likewise (`enlarging.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.frame import Float32Array, Frame, LabelArray, Segmentation
from vseg_ros.labels import LabelSet
from vseg_ros.models.enlarging import (
    best_class,
    enlarge_labels,
    enlarge_labels_everywhere,
    label_dtype,
)
from vseg_ros.models.reliability import entropy, reliability_from_entropy, upsample
from vseg_ros.models.strip_scoring import score_strips


@dataclass(frozen=True)
class InputSize:
    """
    Size of the image given to the segmenter.

    Attributes:
        shorter_side: wanted, in pixels; 0 keeps the frame's size.
        multiple: both sides are rounded to multiples of it.

    """

    shorter_side: int
    multiple: int

    def of(self, frame_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width for a frame of that size; frames are never enlarged."""
        shorter = min(frame_size)
        scale = min(self.shorter_side / shorter, 1.0) if self.shorter_side else 1.0
        height, width = (max(round(side * scale / self.multiple), 1) * self.multiple
                         for side in frame_size)
        return height, width


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize uint8 [H, W, 3] to `size`, averaging where it shrinks."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    resized = cv2.resize(image, (size[1], size[0]),
                         interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


@dataclass
class Scores:
    """
    The scored pixels of one frame, at the segmenter's input size.

    Attributes:
        logits: float32 [1, C, h, w], what was scored.
        labels: uint8 or int16 [H, W].
        entropy: float32 [H, W] in nats.

    """

    logits: Tensor
    labels: Tensor
    entropy: Tensor

    @property
    def scores(self) -> Tensor:
        """The upsampled logits, float32 [C, H, W]; made anew each time."""
        return upsample(self.logits, (self.labels.shape[0], self.labels.shape[1]))[0]

    @property
    def reliability(self) -> Tensor:
        """Eq. 2, float32 [H, W] in 0..1."""
        return reliability_from_entropy(self.entropy)


def score_pixels(logits: Tensor, size: tuple[int, int]) -> Scores:
    """
    Upsample logits and find label and entropy of every pixel.

    Args:
        logits: float32 [1, C, h, w].
        size: the segmenter's input size.

    Returns:
        the scored pixels.

    """
    if logits.device.type == 'cpu':
        return Scores(logits, *score_strips(logits, size))
    scores = upsample(logits, size)
    labels = best_class(scores[0], label_dtype(scores.shape[1]))
    return Scores(logits, labels, entropy(scores.log_softmax(1))[0])


def to_segmentation(scored: Scores, reliability: Tensor, frame: Frame,
                    label_set: LabelSet) -> Segmentation:
    """
    Bring labels and reliability to the size of the frame.

    Args:
        scored: the scored pixels.
        reliability: float32 [H, W] at the same size.
        frame: gives size, stamp and frame id.
        label_set: names of the ids.

    """
    if scored.labels.device.type == 'cpu':
        labels, confidence = _enlarged(scored, reliability, frame.size)
    else:
        labels, confidence = _enlarged_on_device(scored, reliability, frame.size)
    labels = labels.astype(label_set.dtype, copy=False)  # type: ignore[assignment]
    return Segmentation(labels, confidence, label_set, frame.stamp, frame.frame_id)


def _enlarged(scored: Scores, reliability: Tensor, size: tuple[int, int],
              ) -> tuple[LabelArray, Float32Array]:
    """Labels [H, W] and confidence, float32 [H, W] in 0..1, at the size of the frame."""
    labels: LabelArray = scored.labels.numpy()
    confidence: Float32Array = reliability.numpy()
    if labels.shape != size:
        labels = enlarge_labels(scored.logits, labels, size)
        confidence = np.asarray(cv2.resize(confidence, size[::-1],
                                           interpolation=cv2.INTER_LINEAR), np.float32)
    return labels, np.clip(confidence, 0, 1)


def _enlarged_on_device(scored: Scores, reliability: Tensor, size: tuple[int, int],
                        ) -> tuple[LabelArray, Float32Array]:
    """
    Compute what `_enlarged` does on a GPU; only a byte or two a pixel and map come back.

    So the confidence has steps of 1/255, those of the image it is published as.
    """
    labels, sure = scored.labels, reliability[None, None]
    if labels.shape != size:
        labels = enlarge_labels_everywhere(scored.scores, size, labels.dtype)
        sure = upsample(sure, size)
    steps = (sure[0, 0].clamp(0, 1) * 255).round().to(torch.uint8)
    confidence = np.multiply(steps.cpu().numpy(), np.float32(1 / 255), dtype=np.float32)
    return labels.cpu().numpy(), confidence
