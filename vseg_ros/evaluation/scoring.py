"""Everything that is measured of one pipeline on one video, collected frame by frame."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from vseg_ros.errors import UserError
from vseg_ros.evaluation.confusion import ConfusionMatrix
from vseg_ros.evaluation.flicker import FlickerMeter
from vseg_ros.evaluation.results import VideoSpan
from vseg_ros.evaluation.samples import SampledFrame, sample_frame
from vseg_ros.evaluation.video_consistency import LabelledConsistency
from vseg_ros.evaluation.video_score import VideoScore
from vseg_ros.frame import LabelArray, Segmentation, UInt8Array
from vseg_ros.labels import LabelSet


def check_labels(labels: LabelArray, labels_of: LabelSet | None, segmentation: Segmentation,
                 pipeline: str, where: str) -> None:
    """
    Refuse labels that cannot be compared with a segmentation.

    Raises:
        UserError: they differ in size or in their classes.

    """
    predicted = segmentation.labels.shape
    if labels.shape != predicted:
        raise UserError(
            f'{where} has labels of {labels.shape[1]}x{labels.shape[0]} pixels but is segmented '
            f'at {predicted[1]}x{predicted[0]}: give labels of the size of the images')
    names = segmentation.label_set.names
    if labels_of is not None and labels_of.names != names:
        raise UserError(
            f'{where} is labelled with {len(labels_of)} classes ({", ".join(labels_of.names[:3])}'
            f', …) but {pipeline} predicts {len(names)} ({", ".join(names[:3])}, …): choose a '
            'segmenter with the classes of the labels')


class VideoScorer:
    """
    Counts one pipeline on one video.

    Args:
        label_set: the classes that the pipeline predicts.
        samples: numbers of the frames to keep for looking at.

    """

    def __init__(self, label_set: LabelSet, samples: Collection[int] = ()) -> None:
        self._label_set = label_set
        self._wanted = frozenset(samples)
        self._confusion = ConfusionMatrix(len(label_set))
        self._consistency = LabelledConsistency(len(label_set))
        self._flicker_meter = FlickerMeter()
        self._timeline: list[float] = []
        self._flicker: list[float] = []
        self._still_flicker: list[float] = []
        self._seconds: list[float] = []
        self._samples: list[SampledFrame] = []

    def add(self, image: UInt8Array, segmentation: Segmentation, labels: LabelArray | None,
            seconds: float, *, scored: bool) -> None:
        """
        Count the next frame of the video.

        Args:
            image: uint8 [H, W, 3], RGB.
            segmentation: the pipeline's answer.
            labels: uint8 or uint16 [H, W], the truth, or None.
            seconds: what the answer took.
            scored: False for a frame of the warm-up, which only enters the timeline.

        """
        index = len(self._timeline)
        flicker = self._flicker_meter.add(image, segmentation.labels)
        self._timeline.append(flicker.flicker)
        if not scored:
            return
        self._flicker.append(flicker.flicker)
        self._still_flicker.append(flicker.still_flicker)
        self._seconds.append(seconds)
        self._consistency.add(image, segmentation.labels, labels)
        if labels is not None:
            self._confusion.add(segmentation.labels, labels)
        if index in self._wanted:
            self._samples.append(
                sample_frame(index, image, labels, segmentation.labels, flicker.changed))

    def finish(self, name: str, warmup: int, truth: LabelSet | None,
               history: Iterable[Mapping[str, float]], message: str) -> VideoScore:
        """
        Close the video.

        Args:
            name: the video's name.
            warmup: frames to adapt on, as planned.
            truth: classes of the ground truth.
            history: losses of the adaptation, one name -> value mapping a step.
            message: what the pipeline has to say about it, empty if all was well.

        """
        self._consistency.end_video()
        frames = len(self._timeline)
        return VideoScore(
            # A container's own count can be off by a few frames.
            span=VideoSpan(name, frames, min(warmup, frames)),
            label_set=self._label_set, truth=truth, confusion=self._confusion.all_counts,
            windows=self._consistency.mean, form=self._consistency.form,
            flicker=np.array(self._flicker), still_flicker=np.array(self._still_flicker),
            seconds=np.array(self._seconds), timeline=np.array(self._timeline),
            history=tuple({loss: float(value) for loss, value in step.items()}
                          for step in history),
            message=message, samples=tuple(self._samples))
