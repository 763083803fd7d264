"""Small videos and pipelines that are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from vseg_ros.evaluation.trial import Variant
from vseg_ros.frame import Frame, LabelArray, Segmentation
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.io.image_folder import ImageFolder
from vseg_ros.io.street import SyntheticStreet
from vseg_ros.labels import DRIVING, LabelSet
from vseg_ros.pipeline import PipelineState, PipelineStatus
from vseg_ros.settings import SegmenterSettings

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


class FolderOfStreets:
    """Streets as small images in folders, and the cheapest real pipeline for them."""

    # In bfloat16 the segmenter runs without a graph that would first have to be exported.
    settings = SegmenterSettings(input_size=64, precision='bfloat16', device='cpu')
    iss = Variant('iss', 'iss', settings)

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self, name: str, seed: int, frames: int = 6) -> ImageFolder:
        """Write a street's images and labels and open them."""
        for kind in ('images', 'labels'):
            (self.root / name / kind).mkdir(parents=True)
        for index, item in enumerate(SyntheticStreet(seed, frames, size=(60, 80))):
            cv2.imwrite(str(self.root / name / 'images' / f'{index}.png'),
                        item.frame.image[..., ::-1])
            cv2.imwrite(str(self.root / name / 'labels' / f'{index}.png'), item.labels)
        return self.open(name)

    def open(self, name: str) -> ImageFolder:
        """Open a street again."""
        return ImageFolder(self.root / name / 'images', self.root / name / 'labels',
                           label_set=DRIVING, name=name)


@pytest.fixture
def streets(tmp_path: Path) -> FolderOfStreets:
    """Return a place to write streets to."""
    return FolderOfStreets(tmp_path / 'streets')
