"""
From what was counted video by video to the scores of a whole run.

Videos are merged in the order of the run, whatever order they were counted in, so the numbers do
not depend on how the work was shared out: they are those of one pass over all videos.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vseg_ros.evaluation.conditions import Condition
from vseg_ros.evaluation.confusion import ConfusionMatrix
from vseg_ros.evaluation.results import EvaluationResult, PipelineResult
from vseg_ros.evaluation.samples import join_samples
from vseg_ros.evaluation.video_consistency import WINDOWS, joint_form
from vseg_ros.evaluation.video_score import VideoScore
from vseg_ros.evaluation.windows import WindowMean


def _joined(arrays: Sequence[NDArray[np.float64]]) -> list[float]:
    """Put the values of all videos in a row."""
    return [value for array in arrays for value in array.tolist()]


def _mean(values: Sequence[float]) -> float:
    """Average what was measured; NaN where nothing was."""
    measured = [value for value in values if not np.isnan(value)]
    return statistics.fmean(measured) if measured else float('nan')


def _frames_per_second(seconds: Sequence[float]) -> float:
    """Turn the median time of a frame into a rate; NaN without a frame."""
    # The clock may not resolve the fastest step.
    return 1 / max(statistics.median(seconds), 1e-9) if seconds else float('nan')


def merge_videos(scores: Sequence[VideoScore]) -> PipelineResult:
    """
    Score one pipeline over several videos.

    Args:
        scores: one a video, at least one, in the order of the run.

    """
    confusion = ConfusionMatrix.of_counts(
        np.sum([score.confusion for score in scores], axis=0, dtype=np.int64))
    windows = WindowMean(WINDOWS)
    for score in scores:
        windows.include(score.windows)
    class_iou = np.where(confusion.present, confusion.iou(), np.nan)
    return PipelineResult(
        label_set=scores[0].label_set,
        miou=confusion.miou(), wiou=confusion.wiou(),
        mvc8=windows.score(8), mvc16=windows.score(16),
        consistency=joint_form(score.form for score in scores),
        fps=_frames_per_second(_joined([score.seconds for score in scores])),
        flicker=_mean(_joined([score.flicker for score in scores])),
        still_flicker=_mean(_joined([score.still_flicker for score in scores])),
        class_iou=tuple(class_iou.tolist()),
        timeline=tuple(_joined([score.timeline for score in scores])),
        history=tuple(step for score in scores for step in score.history),
        messages=tuple(dict.fromkeys(score.message for score in scores if score.message)))


def merge_run(pipelines: Mapping[str, Sequence[VideoScore]], *, source: str, seed: int,
              warmup_ratio: float, condition: Condition,
              left_out: Sequence[str] = ()) -> EvaluationResult:
    """
    Lay the pipelines of one run side by side.

    Args:
        pipelines: name -> one score a video, the same videos in the same order for all.
        source: what the report calls the videos together.
        seed: seed of everything random.
        warmup_ratio: share of each video that was adapted on, 0..1.
        condition: the weather and the frame rate that the videos were seen in.
        left_out: names of videos that are missing, since a pipeline failed on them.

    """
    first = next(iter(pipelines.values()))
    samples = [sample for number, score in enumerate(first)
               for sample in join_samples(score.span.name, {
                   name: scores[number].samples for name, scores in pipelines.items()})]
    return EvaluationResult(
        source=source, seed=seed, warmup_ratio=warmup_ratio, full_video=warmup_ratio == 1,
        videos=tuple(score.span for score in first),
        label_set=next((score.truth for score in first if score.truth), None),
        pipelines={name: merge_videos(scores) for name, scores in pipelines.items()},
        samples=tuple(samples), condition=condition, left_out=tuple(left_out))
