"""
What an evaluation found, and its JSON.

The JSON is flat and stable. One warm-up ratio gives

    {"source": …, "frames": n, "warmup": n, "seed": n,
     "pipelines": {"iss": {"miou": …, "wiou": …, "mvc8": …, "mvc16": …, "fps": …}, …}}

with scores in 0..1 and null for what could not be measured. Several runs, of which each has a
warm-up ratio, a weather and a stride of its own, give the same object for the first of them and,
beside it, `"runs"`: a list with `warmup_ratio`, `frames`, `warmup` and `pipelines` of each run,
the first included.

Four keys more are written, in the object and in each of its runs, where they say something:

- `"weather"` (`"clean"`, or name and severity such as `"fog:3"`) and `"stride"` (every which
  frame was seen), in all runs as soon as one of them is not clean or leaves frames out;
- `"consistency"`, `"sparse"` or `"mixed"`, where mVC was not measured from labels of every frame
  (Eq. 13 of Time2General instead of Eq. 12) or only in some of the videos; absent, it is dense;
- `"left_out"`, names of the videos that are in no score, since a pipeline failed on them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vseg_ros.atomic import atomic_file
from vseg_ros.evaluation.conditions import AS_RECORDED, Condition
from vseg_ros.evaluation.samples import Sample
from vseg_ros.evaluation.video_consistency import ConsistencyForm
from vseg_ros.labels import LabelSet

JSON_SCORES = ('miou', 'wiou', 'mvc8', 'mvc16', 'fps')


@dataclass(frozen=True)
class VideoSpan:
    """
    How much of a video there is.

    Attributes:
        name: the video's name.
        frames: number of frames.
        warmup: number of leading frames to adapt on.

    """

    name: str
    frames: int
    warmup: int


@dataclass(frozen=True)
class Scores:
    """
    What one pipeline reached, in numbers; NaN is what could not be measured.

    Attributes:
        miou: mean IoU over the classes present in the ground truth, 0..1.
        wiou: IoU weighted by the classes' share of the ground truth, 0..1.
        mvc8: video consistency over 8 frames, 0..1.
        mvc16: video consistency over 16 frames, 0..1.
        fps: frames a second, from the median time a frame took.
        flicker: mean share of pixels that changed class from frame to frame, 0..1.
        still_flicker: the same where the image hardly changed, 0..1.

    """

    miou: float
    wiou: float
    mvc8: float
    mvc16: float
    fps: float
    flicker: float
    still_flicker: float


@dataclass(frozen=True)
class PipelineResult(Scores):
    """
    What one pipeline reached on the scored frames, and how it came to that.

    Attributes:
        label_set: the classes that it predicts.
        consistency: the ground truth that mVC was measured with: 'dense' (every frame labelled,
            Eq. 12), 'sparse' (some frames, Eq. 13), 'mixed' (videos of both kinds), or None
            without any.
        class_iou: IoU of each class, 0..1, NaN for a class that the ground truth never shows.
        timeline: flicker of every frame, warm-up included, all videos in a row.
        history: losses of the adaptation, one name -> value mapping a step.
        messages: what the pipeline had to say, such as why it did not adapt.

    """

    label_set: LabelSet
    consistency: ConsistencyForm | None
    class_iou: tuple[float, ...]
    timeline: tuple[float, ...]
    history: tuple[Mapping[str, float], ...]
    messages: tuple[str, ...]


@dataclass(frozen=True)
class EvaluationResult:
    """
    One evaluation at one warm-up ratio and in one condition.

    Attributes:
        source: what was evaluated.
        seed: seed of everything random.
        warmup_ratio: share of every video to adapt on, 0..1.
        full_video: whether the frames adapted on are scored too.
        videos: the videos in the order of the timelines.
        label_set: classes of the ground truth, None without any.
        pipelines: name -> result, in the order asked for.
        samples: a few scored frames to look at, as they were seen.
        condition: the weather and the frame rate that the videos were seen in.
        left_out: names of videos that are in no score, since a pipeline failed on them.

    """

    source: str
    seed: int
    warmup_ratio: float
    full_video: bool
    videos: tuple[VideoSpan, ...]
    label_set: LabelSet | None
    pipelines: Mapping[str, PipelineResult]
    samples: tuple[Sample, ...]
    condition: Condition = AS_RECORDED
    left_out: tuple[str, ...] = ()

    @property
    def warmup_name(self) -> str:
        """The warm-up in words, such as `10 % warm-up`."""
        return 'full video' if self.full_video else f'{self.warmup_ratio * 100:g} % warm-up'

    @property
    def frames(self) -> int:
        """Number of frames of all videos, warm-up included."""
        return sum(video.frames for video in self.videos)

    @property
    def warmup(self) -> int:
        """Number of frames of all videos that were adapted on."""
        return sum(video.warmup for video in self.videos)


def _pipelines_dict(result: EvaluationResult) -> dict[str, dict[str, float | None]]:
    """Return the scores by pipeline and name, None for NaN."""
    return {name: {score: None if math.isnan(value := getattr(pipeline, score)) else value
                   for score in JSON_SCORES}
            for name, pipeline in result.pipelines.items()}


def in_conditions(results: Sequence[EvaluationResult]) -> bool:
    """Return whether any run saw something else than clean frames, every one of them."""
    return any(result.condition != AS_RECORDED for result in results)


def _where_told(result: EvaluationResult, conditions: bool) -> dict[str, Any]:
    """Return the keys that are only written where they say something."""
    told: dict[str, Any] = {}
    if conditions:
        told |= {'weather': result.condition.weather_name, 'stride': result.condition.stride}
    form = next(iter(result.pipelines.values())).consistency
    if form not in (None, 'dense'):
        told['consistency'] = form
    if result.left_out:
        told['left_out'] = list(result.left_out)
    return told


def results_dict(results: Sequence[EvaluationResult]) -> dict[str, Any]:
    """
    Turn the results of one run into the object that is written as JSON.

    Args:
        results: one result a run, at least one, of the same source and seed.

    """
    first, conditions = results[0], in_conditions(results)
    summary: dict[str, Any] = {
        'source': first.source, 'frames': first.frames, 'warmup': first.warmup,
        'seed': first.seed, **_where_told(first, conditions), 'pipelines': _pipelines_dict(first)}
    if len(results) > 1:
        summary['runs'] = [
            {**_where_told(result, conditions), 'warmup_ratio': result.warmup_ratio,
             'frames': result.frames, 'warmup': result.warmup,
             'pipelines': _pipelines_dict(result)}
            for result in results]
    return summary


def write_results(path: str | Path, results: Sequence[EvaluationResult]) -> None:
    """
    Write the results of one run as JSON, whole or not at all.

    Args:
        path: the file to write.
        results: one result a run, at least one, of the same source and seed.

    Raises:
        UserError: the file cannot be written.

    """
    text = json.dumps(results_dict(results), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')
