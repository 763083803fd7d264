"""What `vseg evaluate` does with videos: plan, carry out here or elsewhere, and tell."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vseg_ros.commands.evaluate_table import print_scores
from vseg_ros.commands.many_sources import open_all
from vseg_ros.commands.progress import console, progress_bar
from vseg_ros.commands.sources import SourceFormat, classes_of
from vseg_ros.errors import UserError
from vseg_ros.evaluation.carry_out import Evaluated, carry_out
from vseg_ros.evaluation.conditions import AS_RECORDED, Condition
from vseg_ros.evaluation.plan import Plan, make_plan
from vseg_ros.evaluation.process_pool import run_in_processes
from vseg_ros.evaluation.ray_cluster import run_on_ray
from vseg_ros.evaluation.report import write_report
from vseg_ros.evaluation.results import EvaluationResult, write_results
from vseg_ros.evaluation.run_folder import RunFolder
from vseg_ros.evaluation.trial import Runner, Variant, run_here
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.settings import PipelineSettings


@dataclass(frozen=True)
class VideoSources:
    """
    The videos to evaluate on; the attributes are options of `vseg evaluate`.

    Attributes:
        sources: paths, patterns, `street:` URIs.
        format: what each of them is.
        split: train, val or test of a data set.
        topic: a bag's camera topic.
        labels: a bag's label topic, or a folder of label images.

    """

    sources: Sequence[str]
    format: SourceFormat
    split: str | None = None
    topic: str | None = None
    labels: str | None = None

    def open(self, variants: Sequence[Variant]) -> list[FrameSource]:
        """
        Open all videos, with labels in the classes that the variants speak.

        Raises:
            UserError: as for `open_all` and `classes_of`.

        """
        return open_all(
            self.sources, self.format, split=self.split, topic=self.topic, labels=self.labels,
            classes=classes_of({variant.name: variant.settings for variant in variants}))


def choose_runner(jobs: int, ray: str | None) -> Runner:
    """
    Choose where trials run.

    Args:
        jobs: processes on this machine; 1 is this one.
        ray: address of a Ray cluster, or None.

    Raises:
        UserError: both are given.

    """
    if ray is None:
        return run_here if jobs == 1 else partial(run_in_processes, jobs=jobs)
    if jobs != 1:
        raise UserError('--jobs is about this machine and --ray about a cluster: give one of '
                        'them')
    return partial(run_on_ray, address=ray)


def evaluate_plan(plan: Plan, runner: Runner = run_here,
                  folder: RunFolder | None = None) -> Evaluated:
    """Carry out a plan with a progress bar; see `carry_out`."""
    try:
        with progress_bar('evaluating') as bar:
            return carry_out(plan, runner, folder=folder, progress=bar)
    except KeyboardInterrupt:
        if folder is not None:
            console.print(f'what is finished is kept in {folder.path}: the same command goes on '
                          'from there', soft_wrap=True)
        raise


def evaluate_ratios(videos: Sequence[FrameSource], settings: Mapping[str, PipelineSettings],
                    ratios: Sequence[float], source: str, seed: int,
                    conditions: Sequence[Condition] = (AS_RECORDED,)) -> list[EvaluationResult]:
    """
    Run the protocol once a warm-up ratio and condition, in this process.

    Args:
        videos: by distinct names.
        settings: name of a pipeline -> its settings.
        ratios: shares of each video to adapt on, 0..1.
        source: what reports call the videos together.
        seed: the weather's.
        conditions: weathers and frame rates.

    Raises:
        UserError: a video is damaged, or as for `carry_out`.

    """
    variants = [Variant(name, name, values) for name, values in settings.items()]
    evaluated = evaluate_plan(make_plan(videos, variants, ratios, conditions, source=source,
                                        seed=seed))
    tell_failures(evaluated)
    return evaluated.results


def tell(evaluated: Evaluated, json: Path | None, report: Path | None) -> None:
    """
    Print the scores and write the result files, then say what failed.

    Raises:
        UserError: a file cannot be written, or a trial failed.

    """
    if evaluated.results:
        print_scores(evaluated.results)
        if json is not None:
            write_results(json, evaluated.results)
        if report is not None:
            write_report(report, evaluated.results, command=' '.join(['vseg', *sys.argv[1:]]))
    tell_failures(evaluated)


def tell_failures(evaluated: Evaluated) -> None:
    """
    Say what failed, one line a reason; the traceback of a defect goes before them.

    Raises:
        UserError: something did.

    """
    failures = evaluated.failures
    if not failures:
        return
    for details in dict.fromkeys(failure.details for _, failure in failures if failure.details):
        console.print(details, markup=False)
    # A damaged file fails every pipeline and ratio with the same words.
    reasons = dict.fromkeys(failure.reason for _, failure in failures)
    if len(reasons) == 1 and not evaluated.results:
        raise UserError(*reasons)
    for reason in reasons:
        console.print(reason, markup=False, soft_wrap=True)
    videos = len({trial.video.name for trial, _ in failures})
    left = ('nothing could be scored' if not evaluated.results else
            f'{videos} {"video is" if videos == 1 else "videos are"} left out of the scores')
    raise UserError(f'{len(failures)} of the trials failed, {left}: see the lines above')
