"""
The report: one HTML file that needs nothing else, with what an evaluation found.

Every section is a function from an `EvaluationResult` to HTML, or to nothing where there is
nothing to show (no labels: no bars by class; no adaptation: no losses). Of several runs a table of
all scores comes first: by warm-up ratio, or by weather and frame rate where those differ.
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
from vseg_ros.evaluation.report_page import PAGE, STYLE, section
from vseg_ros.evaluation.report_scores import overview, ratio_overview, scores_section
from vseg_ros.evaluation.results import EvaluationResult, in_conditions
from vseg_ros.evaluation.samples import Sample
from vseg_ros.frame import UInt8Array
from vseg_ros.labels import Color


def _css(color: Color) -> str:
    """Write an RGB colour for CSS."""
    return '#{:02x}{:02x}{:02x}'.format(*color)


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
    return section('IoU by class', 'In %, classes that the ground truth shows.',
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
    return section('Flicker', note, _pipelines_legend(result) + chart)


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
    return section('Frames', 'Yellow: pixels whose class changed since the frame before.',
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
    return section('Losses of the adaptation', 'One value a step of the optimiser.',
                    f'<div class="small">{charts}</div>')


def _title(result: EvaluationResult, conditions: bool, ratios: bool) -> str:
    """Name one run by what sets it apart: its condition, its warm-up, both, or nothing."""
    parts = [str(result.condition)] if conditions else []
    if ratios:
        parts.append(result.warmup_name)
    title = ', '.join(parts)
    return title[:1].upper() + title[1:]


def _result(result: EvaluationResult, title: str, anchor: str) -> str:
    """Return all sections of one run, under its title if it has one."""
    head = f'<h2 id="{anchor}">{escape(title)}</h2>' if title else ''
    return head + ''.join(section(result) for section in (
        scores_section, _classes, _timeline, _frames, _losses))


def _protocol(result: EvaluationResult) -> str:
    """Say which frames were adapted on and which were scored."""
    if result.full_video:
        return f'{result.frames} frames, adapted on all and scored on all'
    return (f'{result.frames} frames, warm-up on {result.warmup}, scored on '
            f'{result.frames - result.warmup}')


def build_report(results: Sequence[EvaluationResult], *, command: str, machine: str,
                 date: datetime, more: str = '') -> str:
    """
    Lay out a report.

    Args:
        results: one result a run, at least one, of the same source and seed.
        command: the command line that made them.
        machine: the machine in words.
        date: when it was made.
        more: sections to end with, HTML.

    Returns:
        A whole HTML page that refers to no other resource.

    """
    first = results[0]
    protocol = '; '.join(dict.fromkeys(_protocol(result) for result in results))
    facts = (('Source', escape(first.source)), ('Frames', protocol),
             ('Command', f'<code>{escape(command)}</code>'), ('Machine', escape(machine)),
             *([('Left out', escape(', '.join(first.left_out)) + ', since a pipeline failed')]
               if first.left_out else []),
             ('Date', f'{date:%Y-%m-%d %H:%M}'), ('Seed', str(first.seed)),
             ('Version', f'vseg_ros {__version__}'))
    title = f'Video segmentation of {escape(first.source)}'
    heading = ''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts)
    conditions, ratios = in_conditions(results), len({r.warmup_ratio for r in results}) > 1
    titles = [_title(result, conditions, ratios) for result in results]
    anchors = [f'run-{number}' for number in range(1, len(results) + 1)]
    table = ''
    if len(results) > 1:
        table = (overview(results, titles, anchors) if conditions
                 else ratio_overview(results, anchors))
    content = f'<h1>{title}</h1><dl>{heading}</dl>{table}' + ''.join(
        map(_result, results, titles, anchors)) + more
    return PAGE.substitute(title=title, style=STYLE, content=content)


def write_report(path: str | Path, results: Sequence[EvaluationResult], *, command: str,
                 more: str = '') -> None:
    """
    Write a report, whole or not at all.

    Args:
        path: the HTML file to write.
        results: one result a run, at least one, of the same source and seed.
        command: the command line that made them.
        more: sections to end with, HTML.

    Raises:
        UserError: the file cannot be written.

    """
    page = build_report(results, command=command, machine=describe_machine(),
                        date=datetime.now(), more=more)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding='utf-8')
