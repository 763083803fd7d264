"""The tables of scores that `vseg evaluate` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from vseg_ros.evaluation.ratio_table import RATIO_COLUMNS, best_of, ratio_name
from vseg_ros.evaluation.results import EvaluationResult, Scores, in_conditions
from vseg_ros.evaluation.weather_mean import WEATHER_MEAN, weather_means

SCORES = ('mIoU', 'wIoU', 'mVC8', 'mVC16', 'flicker')
"""Columns of the table, each a share that `PipelineResult` has in small letters."""


def print_scores(results: Sequence[EvaluationResult]) -> None:
    """
    Print the scores of all runs, shares in per cent.

    Several warm-up ratios and nothing else give a block a ratio, as in DiTTA's Table 1; otherwise
    there is one row a pipeline and run, and means over weathers.
    """
    ratios = len(results) > 1 and not in_conditions(results)
    Console(highlight=False).print(_ratio_table(results) if ratios else _run_table(results))


def _ratio_table(results: Sequence[EvaluationResult]) -> Table:
    """Lay out one block a warm-up ratio; the best of a block is bold."""
    table = Table()
    for column in ('warm-up', 'pipeline', *(heading for _, heading, _ in RATIO_COLUMNS)):
        table.add_column(column, justify='left' if column == 'pipeline' else 'right',
                         overflow='fold')
    for result in results:
        best = best_of(result)
        for row, (name, scores) in enumerate(result.pipelines.items()):
            cells = [_cell(getattr(scores, attribute), share, name in best[attribute])
                     for attribute, _, share in RATIO_COLUMNS]
            table.add_row('' if row else ratio_name(result), name.replace('[', r'\['), *cells)
        table.add_section()
    return table


def _cell(value: float, share: bool, best: bool) -> str:
    text = _per_cent(value) if share else _rate(value)
    return f'[bold]{text}[/bold]' if best else text


def _run_table(results: Sequence[EvaluationResult]) -> Table:
    """Lay out one row a pipeline and run, and means over weathers."""
    conditions = in_conditions(results)
    means = {id(mean.last): mean for mean in weather_means(results)}
    # The wider table has no lines between its columns, so that 80 characters hold it.
    table = Table(box=box.SIMPLE_HEAD, padding=0) if conditions else Table()
    for column in ('warm-up', *(['weather', 'stride'] * conditions), 'pipeline', *SCORES, 'fps'):
        table.add_column(column, justify='left' if column in ('weather', 'pipeline') else 'right',
                         no_wrap=conditions and column not in ('weather', 'pipeline'),
                         overflow='fold' if conditions or column == 'pipeline' else 'ellipsis')
    for result in results:
        _add_rows(table, result, result.condition.weather_name, result.pipelines, conditions)
        if mean := means.get(id(result)):
            _add_rows(table, result, WEATHER_MEAN, mean.pipelines, conditions)
            table.add_section()
    return table


def _add_rows(table: Table, result: EvaluationResult, weather: str,
              pipelines: Mapping[str, Scores], conditions: bool) -> None:
    """Add one row a pipeline, with the run's weather and stride where runs differ in them."""
    where = [weather, str(result.condition.stride)] if conditions else []
    for name, scores in pipelines.items():
        table.add_row(f'{result.warmup} of {result.frames}', *where, name.replace('[', r'\['),
                      *(_per_cent(getattr(scores, score.lower())) for score in SCORES),
                      _rate(scores.fps))


def _per_cent(share: float) -> str:
    return '-' if math.isnan(share) else f'{100 * share:.2f}'


def _rate(fps: float) -> str:
    return '-' if math.isnan(fps) else f'{fps:.1f}'
