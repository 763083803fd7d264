"""Everything that is measured of one pipeline, collected frame by frame."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

import numpy as np

from vseg_ros.errors import UserError
from vseg_ros.evaluation.confusion import ConfusionMatrix
from vseg_ros.evaluation.flicker import Flicker, FlickerMeter
from vseg_ros.evaluation.results import PipelineResult
from vseg_ros.evaluation.video_consistency import LabelledConsistency
from vseg_ros.frame import LabelArray, Segmentation, UInt8Array
from vseg_ros.labels import LabelSet


def _mean(values: Iterable[float]) -> float:
    """Average what was measured; NaN where nothing was."""
    measured = [value for value in values if not np.isnan(value)]
    return statistics.fmean(measured) if measured else float('nan')


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


class PipelineScore:
    """
    Running scores of one pipeline over all videos.

    Args:
        label_set: the classes that it predicts.

    """

    def __init__(self, label_set: LabelSet) -> None:
        self._label_set = label_set
        self._confusion = ConfusionMatrix(len(label_set))
        self._consistency = LabelledConsistency(len(label_set))
        self._flicker_meter = FlickerMeter()
        self._timeline: list[float] = []
        self._flicker: list[float] = []
        self._still_flicker: list[float] = []
        self._seconds: list[float] = []
        self._history: list[Mapping[str, float]] = []
        self._messages: list[str] = []

    def end_video(self, history: Iterable[Mapping[str, float]], message: str) -> None:
        """
        Close one video.

        Args:
            history: losses of the adaptation, one name -> value mapping a step.
            message: what the pipeline has to say about it, empty if all was well.

        """
        self._messages += [message] * bool(message)
        self._consistency.end_video()
        self._flicker_meter = FlickerMeter()
        self._history.extend(dict(step) for step in history)

    def add(self, image: UInt8Array, segmentation: Segmentation, labels: LabelArray | None,
            seconds: float, *, scored: bool) -> Flicker:
        """
        Count the next frame of the video.

        Args:
            image: uint8 [H, W, 3], RGB.
            segmentation: the pipeline's answer.
            labels: uint8 or uint16 [H, W], the truth, or None.
            seconds: what the answer took.
            scored: False for a frame of the warm-up, which only enters the timeline.

        Returns:
            What changed since the frame before.

        """
        flicker = self._flicker_meter.add(image, segmentation.labels)
        self._timeline.append(flicker.flicker)
        if not scored:
            return flicker
        self._flicker.append(flicker.flicker)
        self._still_flicker.append(flicker.still_flicker)
        self._seconds.append(seconds)
        self._consistency.add(image, segmentation.labels, labels)
        if labels is not None:
            self._confusion.add(segmentation.labels, labels)
        return flicker

    def result(self) -> PipelineResult:
        """Return the scores of all videos closed so far."""
        # The clock may not resolve the fastest step.
        fps = (1 / max(statistics.median(self._seconds), 1e-9) if self._seconds
               else float('nan'))
        class_iou = np.where(self._confusion.present, self._confusion.iou(), np.nan)
        return PipelineResult(
            label_set=self._label_set,
            miou=self._confusion.miou(), wiou=self._confusion.wiou(),
            mvc8=self._consistency.score(8), mvc16=self._consistency.score(16),
            consistency=self._consistency.form,
            fps=fps, flicker=_mean(self._flicker),
            still_flicker=_mean(self._still_flicker),
            class_iou=tuple(float(iou) for iou in class_iou),
            timeline=tuple(self._timeline), history=tuple(self._history),
            messages=tuple(dict.fromkeys(self._messages)))
