"""
A trial: one pipeline on one video in one run, the unit of work of an evaluation.

A run is a warm-up ratio, a weather and a stride. A `Trial` says everything that its result
follows from, so that it can be sent to another process or machine; its `key` is a digest of all
that, by which a result is found again. `attempt` carries it out and returns a `VideoScore`, or
a `Failure` that concerns this trial alone; `SetupError` is what would befall every video.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import Condition
from vseg_ros.evaluation.protocol import score_video
from vseg_ros.evaluation.results import VideoSpan
from vseg_ros.evaluation.video_score import VideoScore
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.pipeline import create_pipeline
from vseg_ros.settings import PipelineSettings


class SetupError(UserError):
    """A pipeline cannot be made at all, whatever the video."""


@dataclass(frozen=True)
class Variant:
    """
    A pipeline under the settings that it is evaluated with.

    Attributes:
        name: what tables call it, such as `ditta` or `ditta[fusion.tau=0.5]`.
        pipeline: a key of `PIPELINE_SETTINGS`.
        settings: of that pipeline.

    """

    name: str
    pipeline: str
    settings: PipelineSettings


@dataclass(frozen=True, eq=False)
class Trial:
    """
    One pipeline on one video in one run.

    Attributes:
        key: digest of everything that the result depends on.
        variant: the pipeline and its settings.
        video: the video as recorded.
        span: its name and length as it is seen, and its warm-up.
        warmup_ratio: share to adapt on, 0..1; 1 shows the video twice.
        condition: the weather and the frame rate to see it in.
        seed: the weather's.
        samples: numbers of the frames to keep for looking at; not part of the key.

    """

    key: str
    variant: Variant
    video: FrameSource
    span: VideoSpan
    warmup_ratio: float
    condition: Condition
    seed: int
    samples: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Number of frames that the pipeline is shown."""
        return self.span.frames * (2 if self.warmup_ratio == 1 else 1)

    @property
    def title(self) -> str:
        """The trial in words."""
        return f'{self.variant.name} on {self.span.name}'


@dataclass(frozen=True)
class Failure:
    """
    A trial that came to no result.

    Attributes:
        reason: one line that says what failed, too.
        details: the traceback of a defect of this package, else empty.

    """

    reason: str
    details: str = ''


Outcome = VideoScore | Failure

TrialTick = Callable[[Trial, int, str], None]
"""(trial, frames shown of it, what is under way) -> None."""

Runner = Callable[[list[Trial], TrialTick], Generator[tuple[Trial, Outcome], None, None]]
"""Carries trials out and yields each with its outcome, in whatever order they end."""


def run_trial(trial: Trial, tick: Callable[[int, str], None]) -> VideoScore:
    """
    Carry a trial out.

    Args:
        trial: what to do.
        tick: called after every frame with how many were shown and what is under way.

    Raises:
        SetupError: the pipeline's weights, device or tracker are not there.
        UserError: the video is damaged, or its labels do not fit the predictions.

    """
    settings = trial.variant.settings.with_warmup_frames(trial.span.warmup, keep_all=True)
    try:
        pipeline = create_pipeline(trial.variant.pipeline, settings)
    except UserError as error:
        raise SetupError(str(error)) from error
    shown = 0

    def count(text: str) -> None:
        nonlocal shown
        shown += 1
        tick(shown, text)

    return score_video(
        trial.variant.name, pipeline, trial.condition(trial.video, trial.seed),
        trial.span.warmup, full_video=trial.warmup_ratio == 1, samples=trial.samples, tick=count)


def attempt(trial: Trial, tick: Callable[[int, str], None]) -> Outcome:
    """
    Carry a trial out, and tell what went wrong with it if something did.

    Raises:
        SetupError: no video can be evaluated so.

    """
    try:
        return run_trial(trial, tick)
    except SetupError:
        raise
    except UserError as error:
        return Failure(str(error))
    except Exception as error:
        said = ' '.join(str(error).split())
        return Failure(f'{trial.title} failed with {type(error).__name__}: {said}',
                       traceback.format_exc())


def run_here(trials: Iterable[Trial], tick: TrialTick,
             ) -> Generator[tuple[Trial, Outcome], None, None]:
    """Carry trials out one after the other in this process; see `Runner`."""
    for trial in trials:
        def count(shown: int, text: str, trial: Trial = trial) -> None:
            tick(trial, shown, text)

        yield trial, attempt(trial, count)
