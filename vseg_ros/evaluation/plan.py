"""
The plan of an evaluation: every trial of every run, and how their results come together.

A run is a warm-up ratio, a weather and a stride; in every run every variant sees every video.
Trials that come to the same result, such as the same settings under two names, are one. They are
ordered video by video, so that a pipeline that cannot work shows on the first video and not after
hours. A video that any trial failed on is left out of all runs and pipelines: every number of a
table is over the same videos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import Condition
from vseg_ros.evaluation.fingerprint import Fingerprints, code_fingerprint, digest_of
from vseg_ros.evaluation.merging import merge_run
from vseg_ros.evaluation.protocol import (
    check_ratio,
    count_frames,
    frames_to_show,
    warmup_length,
)
from vseg_ros.evaluation.results import EvaluationResult, VideoSpan
from vseg_ros.evaluation.trial import Trial, Variant
from vseg_ros.evaluation.video_score import VideoScore
from vseg_ros.io.frame_source import FrameSource

SAMPLES = 4
"""Frames a run that are kept for looking at."""


@dataclass(frozen=True, eq=False)
class Run:
    """
    One warm-up ratio in one condition.

    Attributes:
        warmup_ratio: share of every video to adapt on, 0..1.
        condition: the weather and the frame rate.
        trials: name of a variant -> one trial a video, in order.

    """

    warmup_ratio: float
    condition: Condition
    trials: Mapping[str, Sequence[Trial]]


@dataclass(frozen=True, eq=False)
class Plan:
    """
    All runs of an evaluation.

    Attributes:
        source: what reports call the videos together.
        seed: seed of everything random.
        videos: names of the videos as recorded.
        runs: in the order of the table.

    """

    source: str
    seed: int
    videos: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def trials(self) -> list[Trial]:
        """Every trial once, video by video."""
        return list({trial.key: trial for number in range(len(self.videos))
                     for trial in self._of_video(number)}.values())

    def _of_video(self, number: int) -> Iterator[Trial]:
        for run in self.runs:
            for trials in run.trials.values():
                yield trials[number]

    def results(self, scores: Mapping[str, VideoScore]) -> list[EvaluationResult]:
        """
        Bring the results of the trials together.

        Args:
            scores: key of a trial -> its result; those that failed are missing.

        Returns:
            One result a run, none if no video has all its results.

        """
        whole = [number for number in range(len(self.videos))
                 if all(trial.key in scores for trial in self._of_video(number))]
        if not whole:
            return []
        return [merge_run(
            {name: [scores[trials[number].key] for number in whole]
             for name, trials in run.trials.items()},
            source=self.source, seed=self.seed, warmup_ratio=run.warmup_ratio,
            condition=run.condition,
            left_out=[name for number, name in enumerate(self.videos) if number not in whole])
            for run in self.runs]


def make_plan(videos: Sequence[FrameSource], variants: Sequence[Variant],
              ratios: Sequence[float], conditions: Sequence[Condition], *, source: str,
              seed: int) -> Plan:
    """
    Plan every combination of a warm-up ratio and a condition as a run.

    Args:
        videos: by distinct names; each can be pickled.
        variants: by distinct names; the first is what the others are compared with.
        ratios: shares of each video to adapt on, 0..1; at 1 all frames are scored too.
        conditions: the weathers and frame rates to see the videos in.
        source: what reports call the videos together.
        seed: that of the weather; the variants' settings have theirs.

    Raises:
        UserError: nothing to evaluate, a ratio out of range, or a video without a frame.

    """
    if not videos or not variants:
        raise UserError('there is nothing to evaluate: name at least one video and one pipeline')
    for ratio in ratios:
        check_ratio(ratio)
    planner = _Planner(videos, variants, seed)
    return Plan(source, seed, tuple(video.name for video in videos),
                tuple(planner.run(ratio, condition)
                      for ratio in ratios for condition in conditions))


class _Planner:
    """Looks at videos and variants once and makes the trials of any run."""

    def __init__(self, videos: Sequence[FrameSource], variants: Sequence[Variant],
                 seed: int) -> None:
        self._videos, self._variants, self._seed = videos, variants, seed
        fingerprints = Fingerprints()
        self._frames = [count_frames(video) for video in videos]
        self._video_facts = [fingerprints.describe(video) for video in videos]
        self._variant_facts = []
        for variant in variants:
            settings = variant.settings.model_dump()
            self._variant_facts.append([variant.pipeline, fingerprints.describe(settings),
                                        fingerprints.describe_weights(settings)])

    def run(self, ratio: float, condition: Condition) -> Run:
        spans = [self._span(number, ratio, condition) for number in range(len(self._videos))]
        shown = frames_to_show(spans, ratio, SAMPLES)
        return Run(ratio, condition, {
            variant.name: [
                Trial(self._key(number, facts, spans[number], ratio, condition), variant, video,
                      spans[number], ratio, condition, self._seed, shown[number])
                for number, video in enumerate(self._videos)]
            for variant, facts in zip(self._variants, self._variant_facts, strict=True)})

    def _span(self, number: int, ratio: float, condition: Condition) -> VideoSpan:
        """Measure a video as it is seen, without painting its weather."""
        frames = -(-self._frames[number] // condition.stride)
        return VideoSpan(condition(self._videos[number], self._seed).name, frames,
                         warmup_length(frames, ratio))

    def _key(self, number: int, variant: object, span: VideoSpan, ratio: float,
             condition: Condition) -> str:
        return digest_of({
            'code': code_fingerprint(), 'pipeline': variant, 'video': self._video_facts[number],
            'frames': span.frames, 'warmup': span.warmup, 'full video': ratio == 1,
            'weather': condition.weather_name, 'stride': condition.stride, 'seed': self._seed})
