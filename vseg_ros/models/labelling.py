"""
From logits at 1/4 resolution to labels and reliability at the size of the frame.

Logits are upsampled to the segmenter's input and there turned into labels and entropy, a strip
of rows at a time so that everything stays in the processor's cache and the upsampled logits are
never held as a whole. Labels are those of the interpolated *scores*, as one would want for smooth
borders, but scores are compared only at pixels whose four neighbours disagree: where they agree,
so does every mixture of them. A frame that is larger than the input gets its labels likewise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.frame import BoolArray, Float32Array, Frame, LabelArray, Segmentation
from vseg_ros.labels import LabelSet
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


def best_class(scores: Tensor, dtype: torch.dtype, highest: Tensor | None = None) -> Tensor:
    """
    Index of the largest score; on a CPU several times as fast as argmax over the first dimension.

    Args:
        scores: float [C, ...].
        dtype: integer type of the result; it must hold C.
        highest: `scores.amax(0)`, if it is known already.

    Returns:
        [...]; of equal scores, the first index, as argmax does.

    """
    highest = scores.amax(0) if highest is None else highest
    rank = torch.arange(len(scores), 0, -1, dtype=dtype, device=scores.device)
    ranked = rank.view(-1, *(1 for _ in highest.shape))
    return len(scores) - ((scores == highest) * ranked).amax(0)


def score_pixels(logits: Tensor, size: tuple[int, int]) -> Scores:
    """
    Upsample logits and find label and entropy of every pixel.

    Args:
        logits: float32 [1, C, h, w].
        size: the segmenter's input size.

    Returns:
        the scored pixels.

    """
    dtype = torch.uint8 if logits.shape[1] <= 255 else torch.int16
    if logits.device.type != 'cpu':
        scores = upsample(logits, size)[0]
        highest = scores.amax(0)
        shifted = scores - highest
        return Scores(logits, best_class(scores, dtype, highest),
                      _entropy(shifted, shifted.exp()))
    coarse = best_class(logits[0], dtype).numpy()
    labels, mixed = _neighbours(coarse, size)
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
    above, down = (torch.from_numpy(values) for values in _source_rows(size[0], height))
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
    labels: LabelArray = scored.labels.cpu().numpy()
    labels = labels.astype(label_set.dtype, copy=False)  # type: ignore[assignment]
    confidence: Float32Array = reliability.cpu().numpy()
    if labels.shape != frame.size:
        labels = enlarge_labels(scored.scores.cpu().numpy(), labels, frame.size)
        confidence = np.asarray(cv2.resize(confidence, frame.size[::-1],
                                           interpolation=cv2.INTER_LINEAR), np.float32)
    return Segmentation(labels, np.clip(confidence, 0, 1), label_set, frame.stamp, frame.frame_id)


def enlarge_labels(scores: Float32Array, labels: LabelArray,
                   size: tuple[int, int]) -> LabelArray:
    """
    Labels of bilinearly resized scores, computed only where neighbours disagree.

    Args:
        scores: float32 [C, h, w].
        labels: [h, w], the index of the largest score.
        size: height and width wanted.

    Returns:
        [H, W] like `labels`.

    """
    enlarged, mixed = _neighbours(labels, size)
    rows, columns = np.nonzero(mixed)
    top, down = _source_rows(size[0], labels.shape[0])
    left, right = _source_rows(size[1], labels.shape[1])
    below = np.minimum(top + 1, labels.shape[0] - 1)
    beside = np.minimum(left + 1, labels.shape[1] - 1)
    y0, y1, x0, x1 = top[rows], below[rows], left[columns], beside[columns]
    wy, wx = down[rows], right[columns]
    value = (scores[:, y0, x0] * ((1 - wy) * (1 - wx)) + scores[:, y0, x1] * ((1 - wy) * wx)
             + scores[:, y1, x0] * (wy * (1 - wx)) + scores[:, y1, x1] * (wy * wx))
    enlarged[rows, columns] = value.argmax(0)
    return enlarged


def _neighbours(labels: NDArray[Any], size: tuple[int, int]) -> tuple[NDArray[Any], BoolArray]:
    """
    Look up the four neighbours of every pixel of an enlarged map.

    Args:
        labels: [h, w].
        size: height and width wanted.

    Returns:
        [H, W], the label above and to the left; bool [H, W], whether another one differs.

    """
    top, _ = _source_rows(size[0], labels.shape[0])
    left, _ = _source_rows(size[1], labels.shape[1])
    # pixels between the same four cells share the answer: it is found once, a cell
    grown = np.pad(labels, ((0, 1), (0, 1)), 'edge')
    differs: BoolArray = labels != grown[1:, :-1]
    differs |= labels != grown[:-1, 1:]
    differs |= labels != grown[1:, 1:]
    return labels.take(top, 0).take(left, 1), differs.take(top, 0).take(left, 1)


def _source_rows(target: int, source: int) -> tuple[NDArray[np.int64], Float32Array]:
    """Index of the row before each target row, and the weight of the row after it."""
    position = (np.arange(target) + 0.5) * source / target - 0.5
    position = position.clip(0, source - 1)
    before = np.minimum(position.astype(np.int64), source - 1)
    return before, (position - before).astype(np.float32)
