"""
A few evenly spaced frames, made small, that show what every pipeline did.

Which frames are shown is decided before anything runs (`choose_frames`). Every pipeline keeps what
it made of them (`SampledFrame`), wherever it runs, and `join_samples` lays the pipelines side by
side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from vseg_ros.frame import BoolArray, LabelArray, UInt8Array

SAMPLE_WIDTH = 480
"""Largest width of a sample in pixels."""


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """
    One frame and what one pipeline made of it, at most `SAMPLE_WIDTH` pixels wide.

    Attributes:
        index: number of the frame in its video, from 0.
        image: uint8 [h, w, 3], RGB.
        labels: uint8 or uint16 [h, w], the ground truth, or None.
        prediction: uint8 or uint16 [h, w] ids.
        changed: uint8 [h, w], 0..255, how much changed class since the last frame.

    """

    index: int
    image: UInt8Array
    labels: LabelArray | None
    prediction: LabelArray
    changed: UInt8Array


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


def sample_frame(index: int, image: UInt8Array, labels: LabelArray | None,
                 prediction: LabelArray, changed: BoolArray) -> SampledFrame:
    """Make a sample of a frame, all maps of its full size [H, W]."""
    return SampledFrame(
        index, shrink_image(image), None if labels is None else shrink_labels(labels),
        shrink_labels(prediction), shrink_image(changed.astype(np.uint8) * 255))


def choose_frames(scored: Sequence[range], count: int) -> list[tuple[int, ...]]:
    """
    Choose frames to show, evenly spaced over all videos in a row.

    Args:
        scored: the frames of each video that could be shown, by number.
        count: how many to show in all; fewer if there are not as many.

    Returns:
        The chosen frames of each video, ascending.

    """
    total = sum(len(frames) for frames in scored)
    count = min(count, total)
    places = [(2 * i + 1) * total // (2 * count) for i in range(count)]
    chosen, start = [], 0
    for frames in scored:
        chosen.append(tuple(frames[place - start] for place in places
                            if start <= place < start + len(frames)))
        start += len(frames)
    return chosen


def join_samples(video: str, pipelines: Mapping[str, Sequence[SampledFrame]]) -> list[Sample]:
    """Lay side by side what pipelines made of a video's frames, where all of them kept one."""
    first, *others = pipelines
    kept = {name: {frame.index: frame for frame in frames} for name, frames in pipelines.items()}
    return [Sample(video, frame.index, frame.image, frame.labels,
                   {name: kept[name][frame.index].prediction for name in pipelines},
                   {name: kept[name][frame.index].changed for name in pipelines})
            for frame in pipelines[first]
            if all(frame.index in kept[name] for name in others)]
