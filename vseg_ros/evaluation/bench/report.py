"""The benchmark as one small page of HTML that needs nothing else."""

from __future__ import annotations

from datetime import datetime
from html import escape
from pathlib import Path

from vseg_ros import __version__
from vseg_ros.atomic import atomic_file
from vseg_ros.evaluation.bench.adaptation import BREAKDOWN
from vseg_ros.evaluation.bench.results import COLUMNS, BenchResult, Line, line_groups
from vseg_ros.evaluation.charts import bar, series_color
from vseg_ros.evaluation.report_page import PAGE, STYLE, section

TITLE = 'Speed and memory'


def build_page(result: BenchResult, *, command: str, date: datetime) -> str:
    """
    Lay out the page.

    Args:
        result: what was measured.
        command: the command line that measured it.
        date: when.

    Returns:
        A whole HTML page that refers to no other resource.

    """
    facts = (('Machine', result.machine), ('Threads', str(result.threads)),
             ('Frames', f'{result.size[0]}x{result.size[1]}, synthetic street {result.seed}'),
             ('Segmenter', result.segmenter), ('Command', command),
             ('Date', f'{date:%Y-%m-%d %H:%M}'), ('Version', f'vseg_ros {__version__}'))
    heading = ''.join(f'<dt>{name}</dt><dd>{escape(value)}</dd>' for name, value in facts)
    content = (f'<h1>{TITLE}</h1><dl>{heading}</dl><p class="note">Medians of runs in '
               "turns, so that the machine's moods cancel; quartiles beside them.</p>"
               f'{_tables(result)}{_breakdown(result)}'
               + ''.join(f'<p class="note">Left out: {escape(line)}</p>'
                         for line in result.skipped))
    return PAGE.substitute(title=TITLE, style=STYLE, content=content)


def _tables(result: BenchResult) -> str:
    head = ''.join(f'<th>{escape(column)}</th>' for column in COLUMNS)
    return ''.join(
        f'<section><h3>{escape(title)}</h3><div class="scroll"><table><thead><tr>{head}</tr>'
        f'</thead><tbody>{"".join(map(_row, lines))}</tbody></table></div></section>'
        for title, lines in line_groups(result).items())


def _row(line: Line) -> str:
    return '<tr>' + ''.join(f'<td>{escape(text)}</td>' for text in line) + '</tr>'


def _breakdown(result: BenchResult) -> str:
    """Draw the seconds of an adaptation step, from the plainest to ours."""
    seconds = result.pipelines.get('ditta', {}).get('adaptation_step_seconds')
    if not seconds:
        return ''
    longest = max(seconds.values())
    rows = ''.join(f'<div class="name">{escape(text)}</div><div>'
                   f'{bar(seconds[name] / longest, series_color(0), f"{seconds[name]:.2f} s")}'
                   '</div>' for name, text in BREAKDOWN.items())
    return section('One step of adaptation',
                   'What each change of the computation gains, one after the other.',
                   f'<div class="classes">{rows}</div>')


def write_page(path: Path, result: BenchResult, *, command: str) -> None:
    """
    Write the page, whole or not at all.

    Raises:
        UserError: the file cannot be written.

    """
    page = build_page(result, command=command, date=datetime.now())
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding='utf-8')
