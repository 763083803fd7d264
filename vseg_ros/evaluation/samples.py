"""A few evenly spaced frames, made small, that show what every pipeline did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from vseg_ros.frame import BoolArray, LabelArray, UInt8Array

SAMPLE_WIDTH = 480
"""Largest width of a sample in pixels."""


@dataclass(frozen=True, eq=False)
class Sample:
    """
    One frame to look at, at most `SAMPLE_WIDTH` pixels wide.

    Attributes:
        video: name of its video.
        index: number of the frame in its video, from 0.
        image: uint8 [h, w, 3], RGB.
        labels: uint8 or uint16 [h, w], the ground truth, or None.
        predictions: pipeline -> uint8 or uint16 [h, w] ids.
        changed: pipeline -> uint8 [h, w], 0..255, how much changed class since the last frame.

    """

    video: str
    index: int
    image: UInt8Array
    labels: LabelArray | None
    predictions: dict[str, LabelArray] = field(default_factory=dict)
    changed: dict[str, UInt8Array] = field(default_factory=dict)


def _small_size(height: int, width: int) -> tuple[int, int]:
    """Return width and height (OpenCV's order) of a sample."""
    scale = min(1.0, SAMPLE_WIDTH / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrink_image(image: UInt8Array) -> UInt8Array:
    """Scale uint8 [H, W] or [H, W, 3] down to a sample's size, averaging."""
    size = _small_size(image.shape[0], image.shape[1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def shrink_labels(labels: LabelArray) -> LabelArray:
    """Scale a map of ids down to a sample's size, keeping ids as they are."""
    width, height = _small_size(labels.shape[0], labels.shape[1])
    rows = np.arange(height) * labels.shape[0] // height
    columns = np.arange(width) * labels.shape[1] // width
    return labels[np.ix_(rows, columns)]


class SampleTaker:
    """
    Keeps the chosen frames, with what each pipeline made of them.

    Args:
        frames: (video, index) of all frames that could be taken, in order.
        count: how many to take, evenly spaced.

    """

    def __init__(self, frames: Sequence[tuple[str, int]], count: int) -> None:
        count = min(count, len(frames))
        chosen = [frames[(2 * i + 1) * len(frames) // (2 * count)] for i in range(count)]
        self._samples: dict[tuple[str, int], Sample | None] = dict.fromkeys(chosen)

    def take(self, video: str, index: int, image: UInt8Array, labels: LabelArray | None,
             pipeline: str, prediction: LabelArray, changed: BoolArray) -> None:
        """Keep this pipeline's answer (full size) if the frame is one of the chosen."""
        key = video, index
        if key not in self._samples:
            return
        sample = self._samples[key] or Sample(
            video, index, shrink_image(image), None if labels is None else shrink_labels(labels))
        self._samples[key] = sample
        sample.predictions[pipeline] = shrink_labels(prediction)
        sample.changed[pipeline] = shrink_image(changed.astype(np.uint8) * 255)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The frames taken so far, in order."""
        return tuple(sample for sample in self._samples.values() if sample is not None)
