"""
Charts of the report: inline SVG for the shapes, HTML for the words.

The SVG is stretched to whatever width the page has while text stays HTML around it, so a chart
is as readable on a phone as on a wide screen. Colours are CSS variables of the page
(`--series-1` …), which follow the reader's light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

SERIES_COLORS = 8
"""How many series colours the page defines."""


@dataclass(frozen=True)
class Series:
    """
    One line of a chart.

    Attributes:
        name: what the legend calls it.
        values: one value a step from 0 on; NaN leaves a gap.
        color: a CSS colour.

    """

    name: str
    values: Sequence[float]
    color: str


@dataclass(frozen=True)
class Band:
    """
    A shaded stretch of the horizontal axis.

    Attributes:
        start: first step.
        stop: step after the last.

    """

    start: int
    stop: int


def series_color(index: int) -> str:
    """Return the CSS colour of the index-th pipeline, from 0."""
    return f'var(--series-{index % SERIES_COLORS + 1})'


def percent(value: float) -> str:
    """Write a share in 0..1 as a percentage, with a digit more where it is small."""
    return f'{value * 100:.{1 if abs(value) < 0.0995 and value else 0}f} %'


def plain(value: float) -> str:
    """Write a number in three significant digits."""
    return f'{value:.3g}'


def _round_step(target: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is at least `target`."""
    power = 10.0 ** math.floor(math.log10(target))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= target * (1 - 1e-9))


def _strokes(values: Sequence[float]) -> Iterator[list[tuple[int, float]]]:
    """Split a series at its NaNs into unbroken stretches of (step, value)."""
    stretch: list[tuple[int, float]] = []
    for step, value in enumerate(values):
        if math.isfinite(value):
            stretch.append((step, value))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _lines(series: Series, top: float) -> str:
    """Draw one series in a box that is 100 high."""
    drawn = []
    for stretch in _strokes(series.values):
        # A stretch of one point would be invisible without an end.
        points = stretch if len(stretch) > 1 else stretch * 2
        path = ' '.join(f'{step},{100 - 100 * value / top:.2f}' for step, value in points)
        drawn.append(f'<polyline points="{path}" style="stroke:{series.color}">'
                     f'<title>{escape(series.name)}</title></polyline>')
    return ''.join(drawn)


def line_chart(series: Sequence[Series], describe: str, *, unit: Callable[[float], str] = plain,
               bands: Sequence[Band] = (), axis: str = 'frame') -> str:
    """
    Draw lines over a common horizontal axis of steps.

    Args:
        series: the lines; values from 0 up.
        describe: what the chart shows, for readers who cannot see it.
        unit: writes a value of the vertical axis.
        bands: stretches to shade.
        axis: name of the steps.

    Returns:
        HTML with inline SVG.

    """
    steps = max((len(line.values) for line in series), default=0)
    highest = max((value for line in series for value in line.values if math.isfinite(value)),
                  default=0.0)
    spacing = _round_step(highest / 4) if highest > 0 else 0.25
    rows = max(1, math.ceil(highest / spacing - 1e-9))
    top = rows * spacing
    last = max(1, steps - 1)
    ticks_y = ''.join(f'<span style="bottom:{100 * row / rows:.3f}%">'
                      f'{escape(unit(row * spacing))}</span>' for row in range(rows + 1))
    stride = max(1, round(_round_step(steps / 5))) if steps else 1
    ticks_x = ''.join(f'<span style="left:{100 * step / last:.3f}%">{step}</span>'
                      for step in range(0, steps, stride))
    grid = ''.join(f'<line x1="0" x2="{last}" y1="{100 * row / rows:.3f}" '
                   f'y2="{100 * row / rows:.3f}"/>' for row in range(rows + 1))
    shaded = ''.join(f'<rect x="{band.start}" y="0" width="{min(band.stop, last) - band.start}" '
                     'height="100"/>' for band in bands)
    return (f'<div class="plot"><div class="ticks-y">{ticks_y}</div>'
            f'<svg role="img" aria-label="{escape(describe)}" viewBox="0 0 {last} 100" '
            f'preserveAspectRatio="none">{shaded}{grid}'
            f'{"".join(_lines(line, top) for line in series)}</svg>'
            f'<div class="ticks-x">{ticks_x}</div><div class="axis">{escape(axis)}</div></div>')


def bar(value: float, color: str, label: str) -> str:
    """
    Draw one horizontal bar with its value at the end.

    Args:
        value: share of the full length, 0..1.
        color: a CSS colour.
        label: the text at the bar's end.

    """
    # The full length leaves room for the text.
    width = 86 * value
    return (f'<svg class="bar" role="img" aria-label="{escape(label)}">'
            f'<rect width="{width:.2f}%" height="100%" rx="2" style="fill:{color}"/>'
            f'<text x="{width:.2f}%" dx="6" y="50%" dy="0.35em">{escape(label)}</text></svg>')


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """
    Draw a legend.

    Args:
        entries: (name, CSS colour) of each entry.

    """
    items = ''.join(f'<li><i style="background:{color}"></i>{escape(name)}</li>'
                    for name, color in entries)
    return f'<ul class="legend">{items}</ul>'
