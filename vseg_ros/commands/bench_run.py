"""What `vseg bench` does: measure, print a table, write report and JSON."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from vseg_ros.commands.progress import console
from vseg_ros.errors import UserError
from vseg_ros.evaluation.bench.adaptation import BREAKDOWN
from vseg_ros.evaluation.bench.report import write_page
from vseg_ros.evaluation.bench.results import COLUMNS, BenchResult, line_groups, write_bench
from vseg_ros.evaluation.bench.run import BenchPlan, run_bench
from vseg_ros.settings import PIPELINE_SETTINGS

MEASURED = (*PIPELINE_SETTINGS, 'virst')
"""What can be measured."""


def run(pipelines: str, segmenter: str, weights: str, virst_weights: str, size: str, frames: int,
        threads: int | None, seed: int, quick: bool, report: Path | None,
        json: Path | None) -> None:
    """Measure and show; the arguments are the options of `vseg bench`."""
    plan = BenchPlan(read_pipelines(pipelines), segmenter, read_size(size), frames,
                     threads or torch.get_num_threads(), seed, quick, weights, virst_weights)
    result = run_bench(plan, lambda text: console.print(f'measuring {text} …'))
    print_bench(result)
    if json is not None:
        write_bench(json, result)
    if report is not None:
        write_page(report, result, command=' '.join(['vseg', *sys.argv[1:]]))


def read_pipelines(text: str) -> list[str]:
    """
    Read 'iss,virst' as names of `MEASURED`.

    Raises:
        UserError: no name at all, or another one.

    """
    names = [name.strip() for name in text.split(',') if name.strip()]
    for name in names or ['']:
        if name not in MEASURED:
            raise UserError(f'no pipeline {name!r}: there are {", ".join(MEASURED)}')
    return names


def read_size(text: str) -> tuple[int, int]:
    """
    Read '256x448' as height and width.

    Raises:
        UserError: not two multiples of 32 from 64 to 2048.

    """
    sides = [int(part) if part.isdecimal() else 0 for part in text.lower().split('x')]
    if len(sides) != 2 or not all(64 <= side <= 2048 and side % 32 == 0 for side in sides):
        raise UserError(f'--size {text!r} must be height x width, multiples of 32 from 64 to '
                        '2048, such as 256x448')
    return sides[0], sides[1]


def print_bench(result: BenchResult) -> None:
    """Print what was measured, what an adaptation step gains by what, and what was left out."""
    shown = Console(highlight=False)
    shown.print(result.machine, soft_wrap=True)
    for title, lines in line_groups(result).items():
        table = Table(title=title, title_justify='left')
        for column in COLUMNS:
            table.add_column(column, justify='right' if column else 'left')
        for line in lines:
            table.add_row(*line)
        shown.print(table)
    seconds = result.pipelines.get('ditta', {}).get('adaptation_step_seconds', {})
    for name, value in seconds.items():
        shown.print(f'adaptation step, {BREAKDOWN[name]}: {value:.2f} s')
    for reason in result.skipped:
        shown.print(f'left out: {reason}')
