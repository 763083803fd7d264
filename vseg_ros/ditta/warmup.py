"""
The warm-up: which frames are kept, when it is over, and what they teach.

`Warmup` collects frames with the plain segmenter's prediction and the backbone's features.
`distillation_samples` then runs the tracker over them, votes on the classes of its masks and
paints the labels that adaptation learns from (supplement A2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.ditta.adaptation import WarmupSample
from vseg_ros.ditta.class_vote import ClassVote
from vseg_ros.ditta.distillation import distillation_label
from vseg_ros.ditta.propagation import PredictedFrame, track_objects
from vseg_ros.models.mask_painting import paint_objects
from vseg_ros.models.segmenter import Features
from vseg_ros.models.tracker import MaskTracker
from vseg_ros.models.warmup_clock import WarmupClock
from vseg_ros.settings import DittaSettings, WarmupSettings

Progress = Callable[[float], None]


@dataclass(frozen=True)
class WarmupFrame:
    """
    One frame of the warm-up.

    Attributes:
        predicted: image and the plain segmenter's labels and reliability.
        features: the backbone's, float32 [1, ...] each.

    """

    predicted: PredictedFrame
    features: Features


class Warmup:
    """
    Collects the warm-up, in bounded memory.

    Args:
        settings: how long it lasts and how many frames are kept.

    Attributes:
        frames: what is kept, in order of time.

    """

    def __init__(self, settings: WarmupSettings) -> None:
        self.settings = settings
        self.frames: list[WarmupFrame] = []
        self._clock = WarmupClock(settings)
        self._stride = 1

    def add(self, frame: WarmupFrame, stamp: int) -> None:
        """Take a frame; when memory is full every second one is dropped."""
        if self._clock.seen % self._stride == 0:
            self.frames.append(frame)
        self._clock.tick(stamp)
        if len(self.frames) > self.settings.max_frames:
            self.frames = self.frames[::2]
            self._stride *= 2

    @property
    def progress(self) -> float:
        """Share of the warm-up done, 0..1."""
        return self._clock.progress

    @property
    def complaint(self) -> str:
        """Why it will not end, if so; else empty."""
        return self._clock.complaint

    @property
    def complete(self) -> bool:
        """Whether it is over."""
        return self._clock.complete


def distillation_samples(frames: Sequence[WarmupFrame], tracker: MaskTracker, classes: int,
                         settings: DittaSettings, device: torch.device,
                         progress: Progress | None = None) -> list[WarmupSample]:
    """
    Make what the warm-up teaches.

    Args:
        frames: the warm-up, in order of time.
        tracker: the teacher.
        classes: number of classes.
        settings: prompts, vote and the stride of the losses.
        device: where the samples are wanted.
        progress: called with the share done, 0..1.

    Returns:
        one sample a frame; empty if not one object was tracked.

    """
    tracks = track_objects([frame.predicted for frame in frames], tracker, settings.prompts,
                           progress)
    vote = ClassVote(classes, settings.vote)
    for frame, masks in zip(frames, tracks, strict=True):
        vote.add_frame(frame.predicted.labels, frame.predicted.reliability, masks)
    scores = vote.scores()
    if not scores:
        return []
    best = {object_id: float(score.max()) for object_id, score in scores.items()}
    winners = {object_id: int(score.argmax()) for object_id, score in scores.items()
               if score.any()}
    samples = []
    for frame, masks in zip(frames, tracks, strict=True):
        painted = paint_objects(masks, best, frame.predicted.labels.shape[:2])
        objects = _subsample(painted, settings.adaptation.loss_stride, device)
        predicted = _subsample(frame.predicted.labels, settings.adaptation.loss_stride, device)
        samples.append(WarmupSample(frame.features,
                                    distillation_label(objects, winners, predicted), objects))
    return samples


def _subsample(values: NDArray[np.integer], stride: int, device: torch.device) -> Tensor:
    """Take every n-th pixel, at the centre of its block."""
    offset = stride // 2
    return torch.from_numpy(values[offset::stride, offset::stride].astype(np.int64)).to(device)
