"""`vseg evaluate`: pipelines side by side under the Warm-up-then-Freeze protocol."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Annotated, Literal, Optional

import typer
from rich.console import Console
from rich.table import Table

from vseg_ros.commands.options import Json, Override, Params, Report, Source, Topic
from vseg_ros.commands.progress import progress_bar
from vseg_ros.errors import UserError
from vseg_ros.evaluation.protocol import PipelineFactory
from vseg_ros.evaluation.protocol import evaluate as run_protocol
from vseg_ros.evaluation.report import write_report
from vseg_ros.evaluation.results import EvaluationResult, write_results
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.io.source import open_sources
from vseg_ros.pipeline import SegmentationPipeline, create_pipeline, split_names
from vseg_ros.settings import DittaSettings, SegmenterSettings, load_pipeline_settings


def evaluate(source: Source,
             format: Annotated[Literal['auto', 'bag', 'video', 'images', 'camvid11', 'street'],
                               typer.Option(help='What the source is; camvid11 is a folder with '
                                            'images/ and labels/ in the ids of the SegNet '
                                            'tutorial.')] = 'auto',
             pipelines: Annotated[str, typer.Option(
                 help='Names, separated by commas; the first is what the others are compared '
                 'with.')] = 'iss,ditta',
             warmup_ratio: Annotated[str, typer.Option(
                 metavar='PERCENT', help='Share of each video to adapt on, such as 10 or '
                 '10,25,50; 100 adapts on all and scores all.')] = '10',
             seed: Annotated[int, typer.Option(help='Seed of everything random.')] = 0,
             labels: Annotated[Optional[str], typer.Option(  # noqa: UP045
                 help='Label topic of a bag, or folder of label images.')] = None,
             report: Report = None, json: Json = None, params: Params = None,
             param: Override = None, topic: Topic = None) -> None:
    """
    Score pipelines side by side: mIoU, wIoU, mVC8, mVC16, frames a second.

    Each adapts on the first frames of a video (Warm-up-then-Freeze) and is scored on the rest.

    Example: vseg evaluate camvid/dense15hz --format camvid11 --report report.html
    """
    videos = open_sources(source, topic=topic, labels=labels, format=format)
    names = split_names(pipelines)
    settings = load_pipeline_settings(names, params, [*(param or []), f'seed={seed}'])
    results = evaluate_ratios(videos, settings, read_ratios(warmup_ratio), source, seed)
    print_scores(results)
    if json is not None:
        write_results(json, results)
    if report is not None:
        write_report(report, results, command=' '.join(['vseg', *sys.argv[1:]]))


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


def evaluate_ratios(videos: Sequence[FrameSource], settings: dict[str, SegmenterSettings],
                    ratios: Sequence[float], source: str, seed: int) -> list[EvaluationResult]:
    """Run the protocol once a warm-up ratio, with a progress bar."""
    factories = {name: _factory(name, values) for name, values in settings.items()}
    results = []
    for ratio in ratios:
        with progress_bar(f'warm-up {ratio:.0%}') as bar:
            results.append(run_protocol(videos, factories, ratio, source=source, seed=seed,
                                        progress=bar))
    return results


def _factory(name: str, settings: SegmenterSettings) -> PipelineFactory:
    def create(frames: int, warmup: int) -> SegmentationPipeline:
        if isinstance(settings, DittaSettings):
            return create_pipeline(name, settings.with_warmup_frames(warmup, keep_all=True))
        return create_pipeline(name, settings)
    return create


SCORES = ('mIoU', 'wIoU', 'mVC8', 'mVC16', 'flicker')
"""Columns of the table, each a share that `PipelineResult` has in small letters."""


def print_scores(results: Sequence[EvaluationResult]) -> None:
    """Print a table of scores in per cent, one row a pipeline and warm-up ratio."""
    table = Table()
    for column in ('warm-up', 'pipeline', *SCORES, 'fps'):
        table.add_column(column, justify='left' if column == 'pipeline' else 'right')
    for result in results:
        for name, scores in result.pipelines.items():
            table.add_row(f'{result.warmup} of {result.frames}', name,
                          *(_per_cent(getattr(scores, score.lower())) for score in SCORES),
                          f'{scores.fps:.1f}')
    Console(highlight=False).print(table)


def _per_cent(share: float) -> str:
    return '-' if math.isnan(share) else f'{100 * share:.2f}'
