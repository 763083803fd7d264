"""
Carry a plan out: read what is finished, run the rest somewhere, keep what comes, merge it.

Where trials run is the business of a `Runner`: here, in a pool of processes, or on a cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from vseg_ros.evaluation.plan import Plan
from vseg_ros.evaluation.protocol import Progress
from vseg_ros.evaluation.results import EvaluationResult
from vseg_ros.evaluation.run_folder import RunFolder
from vseg_ros.evaluation.trial import Failure, Runner, Trial, run_here
from vseg_ros.evaluation.video_score import VideoScore


@dataclass(frozen=True, eq=False)
class Evaluated:
    """
    What came of a plan.

    Attributes:
        results: one a run, over the videos that nothing failed on; empty if there is none.
        failures: the trials that failed, and why.

    """

    results: list[EvaluationResult]
    failures: list[tuple[Trial, Failure]]


class _Meter:
    """Counts trials and frames of an evaluation, several trials under way at once."""

    def __init__(self, trials: Sequence[Trial], progress: Progress | None) -> None:
        self._total = sum(trial.steps for trial in trials)
        self._trials, self._ended = len(trials), 0
        self._shown: dict[str, int] = {}
        self._progress = progress

    def tick(self, trial: Trial, shown: int, text: str) -> None:
        """Say how many frames of a trial were shown."""
        self._shown[trial.key] = min(shown, trial.steps)
        if self._progress is not None:
            self._progress(sum(self._shown.values()), self._total,
                           f'{self._ended} of {self._trials} done, {text}')

    def end(self, trial: Trial) -> None:
        """Say that a trial ended, with a result or without."""
        self._ended += 1
        self.tick(trial, trial.steps, trial.title)


def carry_out(plan: Plan, runner: Runner = run_here, *, folder: RunFolder | None = None,
              progress: Progress | None = None) -> Evaluated:
    """
    Carry out all trials of a plan, but for those that a folder holds already.

    Args:
        plan: what to do.
        runner: where to do it.
        folder: where finished trials are kept; each is written as soon as it ends.
        progress: called after every frame.

    Raises:
        SetupError: a pipeline cannot be made at all.
        UserError: a result cannot be kept.

    """
    trials = plan.trials
    meter = _Meter(trials, progress)
    scores: dict[str, VideoScore] = {}
    failures = []
    for trial in trials:
        if folder is not None and (stored := folder.read(trial)) is not None:
            scores[trial.key] = stored
            meter.end(trial)
    # Closing stops the workers of a runner that is left early.
    with closing(runner([trial for trial in trials if trial.key not in scores],
                        meter.tick)) as outcomes:
        for trial, outcome in outcomes:
            if isinstance(outcome, Failure):
                failures.append((trial, outcome))
            else:
                scores[trial.key] = outcome
                if folder is not None:
                    folder.write(trial, outcome)
            meter.end(trial)
    return Evaluated(plan.results(scores), failures)
