"""The benchmark as one small page of HTML that needs nothing else."""

from __future__ import annotations

from datetime import datetime
from html import escape
from pathlib import Path

from vseg_ros import __version__
from vseg_ros.atomic import atomic_file
from vseg_ros.evaluation.bench.adaptation import BREAKDOWN
from vseg_ros.evaluation.bench.results import BenchResult, lines
from vseg_ros.evaluation.charts import bar, series_color
from vseg_ros.evaluation.report_page import PAGE, STYLE

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
    content = (f'<h1>{TITLE}</h1><dl>{heading}</dl>{_table(result)}{_breakdown(result)}'
               + ''.join(f'<p class="note">Left out: {escape(line)}</p>'
                         for line in result.skipped))
    return PAGE.substitute(title=TITLE, style=STYLE, content=content)


def _table(result: BenchResult) -> str:
    rows = ''.join('<tr>' + ''.join(f'<td>{escape(text)}</td>' for text in line) + '</tr>'
                   for line in lines(result))
    return ('<section><h3>Measured</h3><p class="note">Medians of runs in turns, so that the '
            "machine's moods cancel; quartiles beside them.</p><div class=\"scroll\"><table>"
            '<thead><tr><th></th><th>value</th><th>quartiles</th><th>wanted</th></tr></thead>'
            f'<tbody>{rows}</tbody></table></div></section>')


def _breakdown(result: BenchResult) -> str:
    """Draw the seconds of an adaptation step, from the plainest to ours."""
    seconds = result.pipelines.get('ditta', {}).get('adaptation_step_seconds')
    if not seconds:
        return ''
    longest = max(seconds.values())
    rows = ''.join(f'<div class="name">{escape(text)}</div><div>'
                   f'{bar(seconds[name] / longest, series_color(0), f"{seconds[name]:.2f} s")}'
                   '</div>' for name, text in BREAKDOWN.items())
    return ('<section><h3>One step of adaptation</h3><p class="note">What each change of the '
            f'computation gains, one after the other.</p><div class="classes">{rows}</div>'
            '</section>')


def write_page(path: Path, result: BenchResult, *, command: str) -> None:
    """
    Write the page, whole or not at all.

    Raises:
        UserError: the file cannot be written.

    """
    page = build_page(result, command=command, date=datetime.now())
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding='utf-8')
