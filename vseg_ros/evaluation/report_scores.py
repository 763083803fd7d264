"""
Tables of scores of the report: of one run, of all weathers and strides together, of all ratios.

The last is DiTTA's Table 1: a block a warm-up ratio, the best of each column of a block marked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from vseg_ros.evaluation.charts import series_color
from vseg_ros.evaluation.ratio_table import RATIO_COLUMNS, best_of, ratio_name
from vseg_ros.evaluation.report_page import section
from vseg_ros.evaluation.results import EvaluationResult, Scores
from vseg_ros.evaluation.weather_mean import WEATHER_MEAN, weather_means

# Attribute, heading, whether it is a share, whether more is better.
_COLUMNS = (
    ('miou', 'mIoU', True, True), ('wiou', 'wIoU', True, True),
    ('mvc8', 'mVC8', True, True), ('mvc16', 'mVC16', True, True),
    ('flicker', 'flicker', True, False), ('still_flicker', 'flicker, still', True, False),
    ('fps', 'fps', False, True))

_NOT_DENSE = {
    'sparse': 'mVC is measured on the pixels that look the same as in a labelled frame: not every '
    'frame is labelled.',
    'mixed': 'In videos that are labelled in some frames only, mVC is measured on the pixels that '
    'look the same as in a labelled frame.'}


def _change(value: float, base: float, share: bool, more_is_better: bool) -> str:
    """Write the difference from the first pipeline: points for a share, a factor for fps."""
    if math.isnan(value) or math.isnan(base) or (not share and not base):
        return ''
    difference = round((value - base) * 100, 1) if share else round(value / base - 1, 2)
    points = f'{difference:+.1f}' if difference else '0.0'
    text = points.replace('-', '&minus;') if share else f'&times; {value / base:.2f}'
    kind = 'good' if (difference > 0) == more_is_better else 'bad'
    return f'<small class="{kind if difference else "same"}">{text}</small>'


def _score_cells(scores: Scores, base: Scores) -> str:
    """Write one pipeline's cells of a table of scores."""
    cells = ''
    for attribute, _, share, more_is_better in _COLUMNS:
        value, reference = getattr(scores, attribute), getattr(base, attribute)
        change = '' if scores is base else _change(value, reference, share, more_is_better)
        cells += f'<td>{_number(value, share)}{change}</td>'
    return cells


def _rows(pipelines: Mapping[str, Scores]) -> str:
    """Write one row a pipeline, with differences from the first."""
    base = next(iter(pipelines.values()))
    return ''.join(
        f'<tr><td><i class="swatch" style="background:{series_color(index)}"></i>'
        f'{escape(name)}</td>{_score_cells(scores, base)}</tr>'
        for index, (name, scores) in enumerate(pipelines.items()))


def _table(body: str) -> str:
    """Write a table of scores around its rows."""
    head = ''.join(f'<th>{title}</th>' for _, title, _, _ in _COLUMNS)
    return (f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
            f'<tbody>{body}</tbody></table></div>')


def _note(result: EvaluationResult) -> str:
    """Say what the columns are."""
    first, base = next(iter(result.pipelines.items()))
    note = ('Scores in %. mIoU and wIoU: overlap with the ground truth. mVC: pixels whose class '
            'holds over 8 and 16 frames where the truth holds. Flicker: pixels that change class '
            'from one frame to the next, everywhere and where the image stands still; less is '
            'better.')
    if base.consistency in _NOT_DENSE:
        note += f' {_NOT_DENSE[base.consistency]}'
    if len(result.pipelines) > 1:
        note += f' Small: against {escape(first)}, in points (fps as a factor).'
    return note


def scores_section(result: EvaluationResult) -> str:
    """Return the table of scores of one run, with differences from the first pipeline."""
    messages = ''.join(f'<p class="note">{escape(name)}: {escape(message)}</p>'
                       for name, pipeline in result.pipelines.items()
                       for message in pipeline.messages)
    return section('Scores', _note(result), _table(_rows(result.pipelines)) + messages)


def overview(results: Sequence[EvaluationResult], titles: Sequence[str],
             anchors: Sequence[str]) -> str:
    """
    Return the table of scores of all runs, with the means over the weathers.

    Args:
        results: one result a run, at least one.
        titles: what each run is called.
        anchors: the id of each run's heading on the page.

    """
    means = {id(mean.last): mean for mean in weather_means(results)}
    body = ''
    for result, title, anchor in zip(results, titles, anchors, strict=True):
        body += _heading(f'<a href="#{anchor}">{escape(title)}</a>') + _rows(result.pipelines)
        if mean := means.get(id(result)):
            body += _heading(escape(_mean_title(result, results))) + _rows(mean.pipelines)
    return section('Scores by weather and stride', _note(results[0]), _table(body))


def ratio_overview(results: Sequence[EvaluationResult], anchors: Sequence[str]) -> str:
    """
    Return the table of scores of all warm-up ratios.

    Args:
        results: one result a ratio, at least one, all in the same condition.
        anchors: the id of each run's heading on the page.

    """
    head = ''.join(f'<th>{heading}</th>' for _, heading, _ in RATIO_COLUMNS)
    body = ''.join(_ratio_rows(result, anchor)
                   for result, anchor in zip(results, anchors, strict=True))
    first, note = results[0], 'Scores in %, the best of each block in bold.'
    if len(first.pipelines) > 1:
        note += f' Small: against {escape(next(iter(first.pipelines)))}, in points.'
    return section('Scores by warm-up ratio', note, (
        '<div class="scroll"><table class="ratios"><thead><tr><th>Ratio</th><th>Pipeline</th>'
        f'{head}</tr></thead>{body}</table></div>'))


def _ratio_rows(result: EvaluationResult, anchor: str) -> str:
    """Write the block of one warm-up ratio."""
    best, base = best_of(result), next(iter(result.pipelines.values()))
    rows = ''
    for row, (name, scores) in enumerate(result.pipelines.items()):
        cells = ''
        for attribute, _, share in RATIO_COLUMNS:
            value = getattr(scores, attribute)
            change = ('' if scores is base or not share
                      else _change(value, getattr(base, attribute), share, True))
            kind = ' class="best"' if name in best[attribute] else ''
            cells += f'<td{kind}>{_number(value, share)}{change}</td>'
        ratio = '' if row else (f'<th rowspan="{len(result.pipelines)}"><a href="#{anchor}">'
                                f'{ratio_name(result)}</a></th>')
        rows += f'<tr>{ratio}<td class="name">{escape(name)}</td>{cells}</tr>'
    return f'<tbody>{rows}</tbody>'


def _number(value: float, share: bool) -> str:
    if math.isnan(value):
        return '&ndash;'
    return f'{value * 100:.1f}' if share else f'{value:.1f}'


def _heading(text: str) -> str:
    """Write a row that names the rows below it."""
    return f'<tr class="run"><th colspan="{len(_COLUMNS) + 1}">{text}</th></tr>'


def _mean_title(result: EvaluationResult, results: Sequence[EvaluationResult]) -> str:
    """Name a mean by what sets its runs apart from those of other means."""
    title = f'{WEATHER_MEAN[:1].upper()}{WEATHER_MEAN[1:]}, {result.condition.rate}'
    if len({other.warmup_ratio for other in results}) > 1:
        title += f', {result.warmup_name}'
    return title
