"""`vseg evaluate --format mevis …`: sentences answered and scored by J, F and J&F."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vseg_ros.commands.progress import progress_bar
from vseg_ros.datasets.referring import ReferringClip
from vseg_ros.datasets.referring_formats import ReferringFormat, open_referring
from vseg_ros.errors import UserError
from vseg_ros.evaluation.referring_protocol import evaluate_referring
from vseg_ros.evaluation.referring_results import AnswerFolder
from vseg_ros.evaluation.referring_scores import ReferringResult, write_results
from vseg_ros.settings import VirstSettings
from vseg_ros.settings_reading import load_settings
from vseg_ros.video_query import VideoQuery, create_video_query

PIPELINE = 'virst'
"""The pipeline that answers sentences."""


def evaluate_referring_command(
        source: str, format: ReferringFormat, *, split: str | None = None,
        pipelines: str = PIPELINE, submission: Path | None = None, json: Path | None = None,
        params: Path | None = None, overrides: Sequence[str] = (),
        create: Callable[[VirstSettings], VideoQuery] = create_video_query) -> None:
    """
    Ask all sentences of a data set, print the scores and write what is asked for.

    Args:
        source: folder of the data set.
        format: its layout.
        split: as the data set names it; by default the one that is evaluated.
        pipelines: names, of which there is one.
        submission: folder for the masks and the archive for the data set's server; a run that
            was stopped goes on there.
        json: file for the scores.
        params: file of settings.
        overrides: settings, `name=value` each.
        create: makes what answers.

    Raises:
        UserError: anything a user can mend.

    """
    require_pipeline(pipelines)
    settings = load_settings(VirstSettings, params, overrides)
    clips = open_referring(source, format, split)
    if submission is None and not any(clip.has_masks for clip in clips):
        raise UserError(f'{format} publishes no masks of this split, so that nothing can be '
                        'scored: give --submission DIR to write the answers for its server')
    answers = None if submission is None else AnswerFolder(
        submission, format, {'pipeline': PIPELINE, 'settings': settings.model_dump(
            mode='json', exclude={'device', 'precision'})})
    results = {PIPELINE: _run(clips, create(settings), settings, answers)}
    print_scores(results)
    if answers is not None:
        print(f'answers in {answers.archive(clips)}')
    if json is not None:
        write_results(json, source, results)


def require_pipeline(names: str) -> None:
    """
    Check that all the names, separated by commas, are pipelines that answer sentences.

    Raises:
        UserError: one does not.

    """
    for name in names.split(','):
        if name.strip() != PIPELINE:
            raise UserError(f'the pipeline {name.strip()!r} does not answer sentences: give '
                            f'--pipelines {PIPELINE}')


def print_scores(results: Mapping[str, ReferringResult]) -> None:
    """Print a table of scores in per cent, one row a pipeline and group."""
    table = Table()
    names = ('j', 'f', 'jf', 'robustness')
    for column in ('pipeline', 'expressions', 'J', 'F', 'J&F', 'R', 'no match', 'cIoU', 'gIoU',
                   'fps'):
        table.add_column(column, justify='left' if column == 'pipeline' else 'right')
    for pipeline, result in results.items():
        table.add_row(pipeline, str(len(result.scores)),
                      *(_per_cent(result.mean(name)) for name in names),
                      *map(_per_cent, (result.no_match_empty, result.ciou, result.giou)),
                      '-' if math.isnan(result.fps) else f'{result.fps:.1f}')
        for group in result.groups if len(result.groups) > 1 else ():
            count = sum(score.group == group for score in result.scores)
            table.add_row(f'  {group}', str(count),
                          *(_per_cent(result.mean(name, group)) for name in names))
    Console(highlight=False).print(table)


def _run(clips: Sequence[ReferringClip], query: VideoQuery, settings: VirstSettings,
         answers: AnswerFolder | None) -> ReferringResult:
    with progress_bar(PIPELINE, len(clips)) as bar:
        return evaluate_referring(query, clips, longest_window=settings.window.max_frames,
                                  answers=answers, report=bar.advance)


def _per_cent(share: float) -> str:
    return '-' if math.isnan(share) else f'{100 * share:.2f}'
