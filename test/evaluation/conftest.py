"""Small videos and pipelines that are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from vseg_ros.frame import Frame, LabelArray, Segmentation
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.labels import LabelSet
from vseg_ros.pipeline import PipelineState, PipelineStatus

CLASSES = LabelSet(('road', 'sky', '<car>'), ((128, 64, 128), (70, 130, 180), (0, 0, 142)))
SIZE = 12, 16


class SmallVideo:
    """A camera that shows every label map as a picture; stamps are 100 ms apart."""

    path: Path | None = None
    label_set: LabelSet | None = CLASSES

    def __init__(self, name: str, maps: Sequence[LabelArray], *, labelled: bool = True,
                 frame_count: int | None = None) -> None:
        self.name = name
        self.frame_count = frame_count
        self._maps = maps
        self._labelled = labelled

    def __iter__(self) -> Iterator[LabelledFrame]:
        for index, labels in enumerate(self._maps):
            image = np.repeat(labels[..., None] * 40, 3, axis=2).astype(np.uint8)
            yield LabelledFrame(Frame(image, stamp=index * 100_000_000, frame_id='camera'),
                                labels if self._labelled else None)


class SeeingPipeline:
    """
    Reads the labels off the picture of a `SmallVideo`.

    Args:
        flicker_from: from this frame on every second answer is wrong everywhere.
        clip: answer so many frames at once.

    """

    label_set = CLASSES

    def __init__(self, flicker_from: int | None = None, clip: int = 1) -> None:
        self.seen: list[int] = []
        self.status = PipelineStatus(PipelineState.RUNNING)
        self._flicker_from = flicker_from
        self._clip = clip
        self._buffer: list[Segmentation] = []

    def step(self, frame: Frame) -> list[Segmentation]:
        labels = frame.image[..., 0] // 40
        count = len(self.seen)
        if self._flicker_from is not None and count >= self._flicker_from and count % 2:
            labels = (labels + 1) % len(CLASSES)
        self.seen.append(frame.stamp // 100_000_000)
        self._buffer.append(Segmentation(
            labels, np.ones(labels.shape, np.float32), CLASSES, frame.stamp, frame.frame_id))
        return self.finish() if len(self._buffer) == self._clip else []

    def finish(self) -> list[Segmentation]:
        ready, self._buffer = self._buffer, []
        return ready


@pytest.fixture
def small_video() -> Callable[..., SmallVideo]:
    """Make a video of `frames` equal frames: sky above road, a car, an unlabelled corner."""

    def make(frames: int, name: str = 'drive', **options: bool | int) -> SmallVideo:
        labels = np.zeros(SIZE, np.uint8)
        labels[:5] = 1
        labels[7:9, 4:9] = 2
        return SmallVideo(name, [labels.copy() for _ in range(frames)], **options)

    return make


@pytest.fixture
def seeing_pipeline() -> type[SeeingPipeline]:
    """Return the class of pipelines that read the truth off the picture."""
    return SeeingPipeline
