"""
From logits at 1/4 resolution to labels and reliability at the size of the frame.

Logits are upsampled to the segmenter's input and there turned into labels and entropy, a strip
of rows at a time so that everything stays in the processor's cache and the upsampled logits are
never held as a whole. Labels are those of the interpolated scores, compared only where that is
needed; a frame that is larger than the input gets its labels likewise (`enlarging.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
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
    neighbours,
    source_rows,
)
from vseg_ros.models.reliability import reliability_from_entropy, upsample

STRIP_ROWS = 16
"""Rows worked on at a time on a CPU: 16 rows of 640 pixels and 20 classes fit in 1 MiB."""


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
    dtype = label_dtype(logits.shape[1])
    if logits.device.type != 'cpu':
        scores = upsample(logits, size)[0]
        highest = scores.amax(0)
        shifted = scores - highest
        return Scores(logits, best_class(scores, dtype, highest),
                      _entropy(shifted, shifted.exp()))
    coarse = best_class(logits[0], dtype).numpy()
    labels, mixed = neighbours(coarse, size)
    entropy = torch.empty(size, dtype=logits.dtype)
    unclear = []
    for strip, scores in _strips(logits, size):
        places = torch.from_numpy(mixed[strip].ravel().nonzero()[0])
        unclear.append(scores.flatten(1).index_select(1, places))
        shifted = scores.sub_(scores.amax(0))
        # several times as fast as torch's, to 1e-5 of the value
        weights = cv2.exp(shifted.flatten(0, 1).numpy())
        entropy[strip] = _entropy(shifted, torch.from_numpy(weights).view_as(shifted))
    labels[mixed] = best_class(torch.cat(unclear, 1), dtype).numpy()
    return Scores(logits, torch.from_numpy(labels), entropy)


def _entropy(shifted: Tensor, weights: Tensor) -> Tensor:
    """Entropy [...] of logits [C, ...] whose largest is 0; `weights`, their exp, is lost."""
    total = weights.sum(0)
    return total.log() - weights.mul_(shifted).sum(0) / total


def _strips(logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Upsample [1, C, h, w] as `upsample` does, a strip of rows [C, n, W] at a time."""
    source = logits[0].float()
    classes, height, width = source.shape
    above, down = (torch.from_numpy(values) for values in source_rows(size[0], height))
    below = (above + 1).clamp_max_(height - 1)
    for start in range(0, size[0], STRIP_ROWS):
        rows = slice(start, min(start + STRIP_ROWS, size[0]))
        between = torch.lerp(source.index_select(1, above[rows]),
                             source.index_select(1, below[rows]), down[rows, None])
        stacked = between.view(-1, width).numpy()
        # OpenCV resizes rows several times as fast as torch
        wide = cv2.resize(stacked, (size[1], len(stacked)), interpolation=cv2.INTER_LINEAR)
        yield rows, torch.from_numpy(np.asarray(wide)).view(classes, -1, size[1])


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
