"""
`vseg evaluate`: pipelines side by side under the Warm-up-then-Freeze protocol.

Referring data sets go to `commands/evaluate_referring.py`, sentences about the synthetic street to
`commands/evaluate_street_questions.py`: sentences in, J and F out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, cast

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from vseg_ros.commands.evaluate_referring import evaluate_referring_command
from vseg_ros.commands.options import Json, Override, Params, Report, Source, Topic
from vseg_ros.commands.progress import progress_bar
from vseg_ros.commands.sources import SourceFormat, open_videos
from vseg_ros.datasets.referring_formats import REFERRING_FORMATS, ReferringFormat
from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import (
    AS_RECORDED,
    Condition,
    combine,
    read_strides,
    read_weathers,
)
from vseg_ros.evaluation.protocol import PipelineFactory
from vseg_ros.evaluation.protocol import evaluate as run_protocol
from vseg_ros.evaluation.report import write_report
from vseg_ros.evaluation.results import EvaluationResult, Scores, in_conditions, write_results
from vseg_ros.evaluation.weather_mean import WEATHER_MEAN, weather_means
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.pipeline import SegmentationPipeline, create_pipeline, split_names
from vseg_ros.settings import PipelineSettings, load_pipeline_settings

EvaluateFormat = Literal[SourceFormat, ReferringFormat, 'street-questions']
STREET_QUESTIONS = 'street-questions'
HELD_OUT_STREETS = 100
"""Streets that are asked about unless told otherwise."""
_SEGMENTATION_ONLY = {'warmup_ratio': '10', 'weather': 'clean', 'stride': '1', 'seed': 0,
                      'labels': None, 'report': None, 'topic': None}
"""Options of segmentation alone, and what they are when nobody gives them."""


def evaluate(source: Source,
             format: Annotated[EvaluateFormat, typer.Option(
                 help='What the source is. camvid11 is a folder with images/ and labels/ in the '
                 'ids of the SegNet tutorial; camvid, cityscapes, kitti360 and apolloscape are '
                 'data sets in their published layouts (docs/datasets.md); ref-youtube-vos, '
                 'ref-davis17, mevis, revos and refcoco are sentences about videos or images '
                 '(docs/referring_evaluation.md); street-questions asks about the synthetic '
                 'street, of which SOURCE is then `street`.')] = 'auto',
             split: Annotated[Optional[str], typer.Option(  # noqa: UP045
                 help='train, val or test of a data set; valid_u, testA … where it has them.'
                 )] = None,
             pipelines: Annotated[str, typer.Option(
                 help='Names, separated by commas; the first is what the others are compared '
                 'with. virst answers sentences.')] = 'iss,ditta',
             warmup_ratio: Annotated[str, typer.Option(
                 metavar='PERCENT', help='Share of each video to adapt on, such as 10 or '
                 '10,25,50; 100 adapts on all and scores all.')] = '10',
             weather: Annotated[str, typer.Option(
                 metavar='NAME:SEVERITY', help='Weathers to see the videos in, one run each, such '
                 'as clean,fog:3,frost:3,snow:3,spatter:3; severity is 1 to 5, all:3 is every '
                 'weather.')] = 'clean',
             stride: Annotated[str, typer.Option(
                 metavar='N', help='See every n-th frame only, such as 3, or 1,3 for a run '
                 'each.')] = '1',
             seed: Annotated[int, typer.Option(help='Seed of everything random.')] = 0,
             clips: Annotated[Optional[int], typer.Option(  # noqa: UP045
                 metavar='N', help='Streets that street-questions asks about, '
                 f'{HELD_OUT_STREETS} if not given.')] = None,
             labels: Annotated[Optional[str], typer.Option(  # noqa: UP045
                 help='Label topic of a bag, or folder of label images.')] = None,
             submission: Annotated[Optional[Path], typer.Option(  # noqa: UP045
                 metavar='DIR', help='Write the masks that answer the sentences, and the archive '
                 "for the data set's server; a run that was stopped goes on there.")] = None,
             report: Report = None, json: Json = None, params: Params = None,
             param: Override = None, topic: Topic = None) -> None:
    """
    Score pipelines side by side: mIoU, wIoU, mVC8, mVC16, frames a second.

    Each adapts on the first frames of a video (Warm-up-then-Freeze) and is scored on the rest.
    Every combination of warm-up, weather and stride is a run of its own over the same videos.

    Referring data sets are scored by J, F and J&F instead (--pipelines virst).

    Example: vseg evaluate camvid/dense15hz --format camvid11 --report report.html
    """
    if format == STREET_QUESTIONS:
        # PyTorch is loaded only now, so that `vseg --help` answers at once
        from vseg_ros.commands.evaluate_street_questions import evaluate_street_command
        _refuse_given({'warmup_ratio': warmup_ratio, 'weather': weather, 'stride': stride,
                       'split': split, 'labels': labels, 'report': report, 'topic': topic,
                       'submission': submission}, format)
        evaluate_street_command(source, clips=HELD_OUT_STREETS if clips is None else clips,
                                seed=seed, pipelines=pipelines, json=json, params=params,
                                overrides=param or [])
        return
    if clips is not None:
        raise UserError(f'--clips applies to {STREET_QUESTIONS}, not to a source of format '
                        f'{format}: leave it away')
    if format in REFERRING_FORMATS:
        _refuse_given({'warmup_ratio': warmup_ratio, 'weather': weather, 'stride': stride,
                       'seed': seed, 'labels': labels, 'report': report, 'topic': topic}, format)
        evaluate_referring_command(
            source, format, split=split, pipelines=pipelines,
            submission=submission, json=json, params=params, overrides=param or [])
        return
    if submission is not None:
        raise UserError(f'--submission applies to {", ".join(REFERRING_FORMATS)}, not to a source '
                        f'of format {format}: leave it away')
    videos = open_videos(source, cast(SourceFormat, format), split=split, topic=topic,
                         labels=labels)
    names = split_names(pipelines)
    settings = load_pipeline_settings(names, params, [*(param or []), f'seed={seed}'])
    results = evaluate_ratios(videos, settings, read_ratios(warmup_ratio), source, seed,
                              combine(read_weathers(weather), read_strides(stride)))
    print_scores(results)
    if json is not None:
        write_results(json, results)
    if report is not None:
        write_report(report, results, command=' '.join(['vseg', *sys.argv[1:]]))


def _refuse_given(options: dict[str, Any], format: str) -> None:
    """Refuse options that say nothing about sentences."""
    for name, value in options.items():
        if value != _SEGMENTATION_ONLY.get(name):
            raise UserError(f'--{name.replace("_", "-")} does not apply to {format}: leave it '
                            'away')


def read_ratios(text: str) -> list[float]:
    """
    Read '10,25,50' as shares.

    Raises:
        UserError: not numbers from 0 to 100.

    """
    try:
        percents = [float(part) for part in text.split(',')]
    except ValueError:
        percents = [-1.0]
    if not all(0 < percent <= 100 for percent in percents):
        raise UserError(f'--warmup-ratio {text!r} must be per cents above 0, up to 100, such as '
                        '10 or 10,25,50')
    return [percent / 100 for percent in percents]


def evaluate_ratios(videos: Sequence[FrameSource], settings: Mapping[str, PipelineSettings],
                    ratios: Sequence[float], source: str, seed: int,
                    conditions: Sequence[Condition] = (AS_RECORDED,)) -> list[EvaluationResult]:
    """Run the protocol once a warm-up ratio and condition, with a progress bar."""
    factories = {name: _factory(name, values) for name, values in settings.items()}
    results = []
    for ratio, condition in product(ratios, conditions):
        with progress_bar(f'warm-up {ratio:.0%}') as bar:
            results.append(run_protocol(videos, factories, ratio, source=source, seed=seed,
                                        progress=bar, condition=condition))
    return results


def _factory(name: str, settings: PipelineSettings) -> PipelineFactory:
    def create(frames: int, warmup: int) -> SegmentationPipeline:
        return create_pipeline(name, settings.with_warmup_frames(warmup, keep_all=True))
    return create


SCORES = ('mIoU', 'wIoU', 'mVC8', 'mVC16', 'flicker')
"""Columns of the table, each a share that `PipelineResult` has in small letters."""


def print_scores(results: Sequence[EvaluationResult]) -> None:
    """Print a table of scores in per cent, one row a pipeline and run, and means over weathers."""
    conditions = in_conditions(results)
    means = {id(mean.last): mean for mean in weather_means(results)}
    # The wider table has no lines between its columns, so that 80 characters hold it.
    table = Table(box=box.SIMPLE_HEAD, padding=0) if conditions else Table()
    for column in ('warm-up', *(['weather', 'stride'] * conditions), 'pipeline', *SCORES, 'fps'):
        table.add_column(column, justify='left' if column in ('weather', 'pipeline') else 'right',
                         no_wrap=conditions and column != 'weather',
                         overflow='fold' if conditions else 'ellipsis')
    for result in results:
        _add_rows(table, result, result.condition.weather_name, result.pipelines, conditions)
        if mean := means.get(id(result)):
            _add_rows(table, result, WEATHER_MEAN, mean.pipelines, conditions)
            table.add_section()
    Console(highlight=False).print(table)


def _add_rows(table: Table, result: EvaluationResult, weather: str,
              pipelines: Mapping[str, Scores], conditions: bool) -> None:
    """Add one row a pipeline, with the run's weather and stride where runs differ in them."""
    where = [weather, str(result.condition.stride)] if conditions else []
    for name, scores in pipelines.items():
        table.add_row(f'{result.warmup} of {result.frames}', *where, name,
                      *(_per_cent(getattr(scores, score.lower())) for score in SCORES),
                      f'{scores.fps:.1f}')


def _per_cent(share: float) -> str:
    return '-' if math.isnan(share) else f'{100 * share:.2f}'
