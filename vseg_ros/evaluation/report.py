"""
The report: one HTML file that needs nothing else, with what an evaluation found.

Every section is a function from an `EvaluationResult` to HTML, or to nothing where there is
nothing to show (no labels: no bars by class; no adaptation: no losses).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path

import numpy as np

from vseg_ros import __version__
from vseg_ros.atomic import atomic_file
from vseg_ros.evaluation.charts import (
    Band,
    Series,
    bar,
    legend,
    line_chart,
    percent,
    plain,
    series_color,
)
from vseg_ros.evaluation.machine import describe_machine
from vseg_ros.evaluation.pictures import data_uri, paint_changes
from vseg_ros.evaluation.report_page import PAGE, STYLE
from vseg_ros.evaluation.results import EvaluationResult, PipelineResult
from vseg_ros.evaluation.samples import Sample
from vseg_ros.frame import UInt8Array
from vseg_ros.labels import Color

# Attribute, heading, whether it is a share, whether more is better.
_COLUMNS = (
    ('miou', 'mIoU', True, True), ('wiou', 'wIoU', True, True),
    ('mvc8', 'mVC8', True, True), ('mvc16', 'mVC16', True, True),
    ('flicker', 'flicker', True, False), ('still_flicker', 'flicker, still', True, False),
    ('fps', 'fps', False, True))


def _section(title: str, note: str, body: str) -> str:
    """Frame one section."""
    return f'<section><h3>{title}</h3><p class="note">{note}</p>{body}</section>'


def _css(color: Color) -> str:
    """Write an RGB colour for CSS."""
    return '#{:02x}{:02x}{:02x}'.format(*color)


def _change(value: float, base: float, share: bool, more_is_better: bool) -> str:
    """Write the difference from the first pipeline: points for a share, a factor for fps."""
    if math.isnan(value) or math.isnan(base) or (not share and not base):
        return ''
    difference = round((value - base) * 100, 1) if share else round(value / base - 1, 2)
    text = f'{difference:+.1f}'.replace('-', '&minus;') if share else f'&times; {value / base:.2f}'
    kind = 'good' if (difference > 0) == more_is_better else 'bad'
    return f'<small class="{kind if difference else "same"}">{text}</small>'


def _score_cells(pipeline: PipelineResult, base: PipelineResult) -> str:
    """Write one pipeline's cells of the table of scores."""
    cells = ''
    for attribute, _, share, more_is_better in _COLUMNS:
        value, reference = getattr(pipeline, attribute), getattr(base, attribute)
        text = f'{value * 100:.1f}' if share else f'{value:.1f}'
        change = '' if pipeline is base else _change(value, reference, share, more_is_better)
        cells += f'<td>{"&ndash;" if math.isnan(value) else text}{change}</td>'
    return cells


def _scores(result: EvaluationResult) -> str:
    """Return the table of scores, with differences from the first pipeline."""
    first, base = next(iter(result.pipelines.items()))
    head = ''.join(f'<th>{title}</th>' for _, title, _, _ in _COLUMNS)
    rows = ''.join(
        f'<tr><td><i class="swatch" style="background:{series_color(index)}"></i>'
        f'{escape(name)}</td>{_score_cells(pipeline, base)}</tr>'
        for index, (name, pipeline) in enumerate(result.pipelines.items()))
    note = ('Scores in %. mIoU and wIoU: overlap with the ground truth. mVC: pixels whose class '
            'holds over 8 and 16 frames where the truth holds. Flicker: pixels that change class '
            'from one frame to the next, everywhere and where the image stands still; less is '
            'better.')
    if len(result.pipelines) > 1:
        note += f' Small: against {escape(first)}, in points (fps as a factor).'
    table = f'<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    messages = ''.join(f'<p class="note">{escape(name)}: {escape(message)}</p>'
                       for name, pipeline in result.pipelines.items()
                       for message in pipeline.messages)
    return _section('Scores', note, f'<div class="scroll">{table}</div>{messages}')


def _pipelines_legend(result: EvaluationResult) -> str:
    """Return the legend of the pipelines' colours."""
    return legend([(name, series_color(i)) for i, name in enumerate(result.pipelines)])


def _classes(result: EvaluationResult) -> str:
    """Return the IoU of every class that the ground truth shows."""
    base = next(iter(result.pipelines.values()))
    if all(math.isnan(iou) for iou in base.class_iou):
        return ''
    rows = ''
    for index, name in enumerate(base.label_set.names):
        values = [pipeline.class_iou[index] for pipeline in result.pipelines.values()]
        if math.isnan(values[0]):
            continue
        color = _css(base.label_set.palette[index])
        bars = ''.join(bar(value, series_color(i), f'{value * 100:.1f}')
                       for i, value in enumerate(values))
        rows += (f'<div class="name"><i class="swatch" style="background:{color}"></i>'
                 f'{escape(name)}</div><div>{bars}</div>')
    return _section('IoU by class', 'In %, classes that the ground truth shows.',
                    f'{_pipelines_legend(result)}<div class="classes">{rows}</div>')


def _timeline(result: EvaluationResult) -> str:
    """Return the flicker of every frame, with the warm-up shaded."""
    bands, start = [], 0
    for video in result.videos:
        if not result.full_video:
            bands.append(Band(start, start + video.warmup))
        start += video.frames
    lines = [Series(name, pipeline.timeline, series_color(index))
             for index, (name, pipeline) in enumerate(result.pipelines.items())]
    note = 'Share of pixels whose class differs from the frame before.'
    if bands:
        note += ' Shaded: the warm-up, which is not scored.'
    if len(result.videos) > 1:
        note += ' All videos in a row.'
    chart = line_chart(lines, 'Flicker of every frame', unit=percent, bands=bands)
    return _section('Flicker', note, _pipelines_legend(result) + chart)


def _figure(image: UInt8Array, caption: str) -> str:
    """Show one picture with its caption."""
    return (f'<figure><img src="{data_uri(image)}" alt="{escape(caption)}" loading="lazy">'
            f'<figcaption>{escape(caption)}</figcaption></figure>')


def _sample(result: EvaluationResult, sample: Sample) -> str:
    """Show one frame: image and truth, then what each pipeline said and changed."""
    truth = ''
    if sample.labels is not None and result.label_set is not None:
        truth = _figure(result.label_set.overlay(sample.image, sample.labels), 'ground truth')
    columns = f'<div>{_figure(sample.image, "image")}{truth}</div>'
    for name, pipeline in result.pipelines.items():
        overlay = pipeline.label_set.overlay(sample.image, sample.predictions[name])
        changes = paint_changes(sample.image, sample.changed[name])
        columns += (f'<div>{_figure(overlay, name)}'
                    f'{_figure(changes, f"{name}: what changed")}</div>')
    place = f'{sample.video}, frame {sample.index}'
    return f'<div class="frame"><h3>{escape(place)}</h3><div>{columns}</div></div>'


def _shown_classes(result: EvaluationResult) -> list[tuple[str, str]]:
    """Return name and colour of every class that a sample shows, each once."""
    shown: dict[tuple[str, str], None] = {}
    for name, pipeline in result.pipelines.items():
        maps = [sample.predictions[name] for sample in result.samples]
        if pipeline.label_set == result.label_set:
            maps += [sample.labels for sample in result.samples if sample.labels is not None]
        ids = sorted({int(i) for labels in maps for i in np.unique(labels)})
        label_set = pipeline.label_set
        for i in ids:
            if i < len(label_set):
                shown[label_set.names[i], _css(label_set.palette[i])] = None
    return list(shown)


def _frames(result: EvaluationResult) -> str:
    """Return the sample frames side by side."""
    if not result.samples:
        return ''
    frames = ''.join(_sample(result, sample) for sample in result.samples)
    return _section('Frames', 'Yellow: pixels whose class changed since the frame before.',
                    legend(_shown_classes(result)) + frames)


def _losses(result: EvaluationResult) -> str:
    """Return one small chart a loss of each pipeline that adapted."""
    charts = ''
    for index, (name, pipeline) in enumerate(result.pipelines.items()):
        losses = dict.fromkeys(loss for step in pipeline.history for loss in step)
        for loss in losses:
            values = [step.get(loss, float('nan')) for step in pipeline.history]
            title = f'{name}: {loss}'
            line = Series(title, values, series_color(index))
            charts += (f'<div><div>{escape(title)}</div>'
                       f'{line_chart([line], title, unit=plain, axis="step")}</div>')
    if not charts:
        return ''
    return _section('Losses of the adaptation', 'One value a step of the optimiser.',
                    f'<div class="small">{charts}</div>')


def _result(result: EvaluationResult, titled: bool) -> str:
    """Return all sections of one warm-up ratio."""
    title = 'full video' if result.full_video else f'{result.warmup_ratio * 100:g} % warm-up'
    head = f'<h2>{title[0].upper()}{title[1:]}</h2>' if titled else ''
    return head + ''.join(section(result) for section in (
        _scores, _classes, _timeline, _frames, _losses))


def _protocol(result: EvaluationResult) -> str:
    """Say which frames were adapted on and which were scored."""
    if result.full_video:
        return f'{result.frames} frames, adapted on all and scored on all'
    return (f'{result.frames} frames, warm-up on {result.warmup}, scored on '
            f'{result.frames - result.warmup}')


def build_report(results: Sequence[EvaluationResult], *, command: str, machine: str,
                 date: datetime) -> str:
    """
    Lay out a report.

    Args:
        results: one result a warm-up ratio, at least one, of the same source and seed.
        command: the command line that made them.
        machine: the machine in words.
        date: when it was made.

    Returns:
        A whole HTML page that refers to no other resource.

    """
    first = results[0]
    protocol = '; '.join(dict.fromkeys(_protocol(result) for result in results))
    facts = (('Source', escape(first.source)), ('Frames', protocol),
             ('Command', f'<code>{escape(command)}</code>'), ('Machine', escape(machine)),
             ('Date', f'{date:%Y-%m-%d %H:%M}'), ('Seed', str(first.seed)),
             ('Version', f'vseg_ros {__version__}'))
    title = f'Video segmentation of {escape(first.source)}'
    heading = ''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts)
    content = f'<h1>{title}</h1><dl>{heading}</dl>' + ''.join(
        _result(result, titled=len(results) > 1) for result in results)
    return PAGE.substitute(title=title, style=STYLE, content=content)


def write_report(path: str | Path, results: Sequence[EvaluationResult], *, command: str) -> None:
    """
    Write a report, whole or not at all.

    Args:
        path: the HTML file to write.
        results: one result a warm-up ratio, at least one, of the same source and seed.
        command: the command line that made them.

    Raises:
        UserError: the file cannot be written.

    """
    page = build_report(results, command=command, machine=describe_machine(),
                        date=datetime.now())
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding='utf-8')
