"""
`vseg evaluate`: pipelines side by side under the Warm-up-then-Freeze protocol.

This file has the options. Videos go to `commands/evaluate_videos.py`, referring data sets to
`commands/evaluate_referring.py`, sentences about the synthetic street to
`commands/evaluate_street_questions.py`: sentences in, J and F out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Optional, cast

import typer

from vseg_ros.commands.evaluate_referring import evaluate_referring_command
from vseg_ros.commands.evaluate_table import print_scores
from vseg_ros.commands.evaluate_videos import (
    VideoSources,
    choose_runner,
    evaluate_plan,
    evaluate_ratios,
    tell,
)
from vseg_ros.commands.options import Json, Override, Params, Report, Topic
from vseg_ros.commands.sources import SourceFormat
from vseg_ros.datasets.referring_formats import REFERRING_FORMATS, ReferringFormat
from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import combine, read_strides, read_weathers
from vseg_ros.evaluation.plan import make_plan
from vseg_ros.evaluation.run_folder import RunFolder
from vseg_ros.evaluation.variants import make_variants, read_sweep
from vseg_ros.pipeline import split_names

__all__ = ['evaluate', 'evaluate_ratios', 'print_scores', 'read_ratios']

EvaluateFormat = Literal[SourceFormat, ReferringFormat, 'street-questions']
STREET_QUESTIONS = 'street-questions'
HELD_OUT_STREETS = 100
"""Streets that are asked about unless told otherwise."""
_SEGMENTATION_ONLY = {'warmup_ratio': '10', 'weather': 'clean', 'stride': '1', 'seed': 0,
                      'labels': None, 'report': None, 'topic': None, 'sweep': None,
                      'ablation': None, 'resume': None, 'jobs': 1, 'ray': None}
"""Options of segmentation alone, and what they are when nobody gives them."""


def evaluate(source: Annotated[list[str], typer.Argument(
                 help='A ROS 2 bag (folder, .mcap or .db3), a video file, a folder of images, a '
                 'data set, or street:SEED[:FRAMES], the synthetic street; several of them, or a '
                 "quoted pattern such as 'bags/*.mcap'.")],
             format: Annotated[EvaluateFormat, typer.Option(
                 help='What the source is. camvid11 is a folder with images/ and labels/ in the '
                 'ids of the SegNet tutorial; camvid, cityscapes, kitti360, apolloscape, vspw '
                 'and ade20k are data sets in their published layouts (docs/datasets.md); '
                 'ref-youtube-vos, ref-davis17, mevis, revos and refcoco are sentences about '
                 'videos or images (docs/referring_evaluation.md); street-questions asks about '
                 'the synthetic street, of which SOURCE is then `street`.')] = 'auto',
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
             sweep: Annotated[Optional[list[str]], typer.Option(  # noqa: UP045
                 metavar='NAME=VALUE,VALUE', help='Run every pipeline that has the setting once '
                 'a value, such as --sweep fusion.tau=0,0.5,0.8; may be repeated.')] = None,
             ablation: Annotated[Optional[list[str]], typer.Option(  # noqa: UP045
                 metavar='PIPELINE', help="Add a method's ablation: ditta, without each of its "
                 'three components and with each alone.')] = None,
             resume: Annotated[Optional[Path], typer.Option(  # noqa: UP045
                 metavar='DIR', help='Keep what is finished in DIR, and go on with what is there '
                 'from a run that was stopped.')] = None,
             jobs: Annotated[int, typer.Option(
                 min=1, metavar='N', help='Processes of this machine to share the videos '
                 'among.')] = 1,
             ray: Annotated[Optional[str], typer.Option(  # noqa: UP045
                 metavar='ADDRESS', help='Ray cluster to share the videos among: auto, or '
                 'ray://HOST:PORT.')] = None,
             report: Report = None, json: Json = None, params: Params = None,
             param: Override = None, topic: Topic = None) -> None:
    """
    Score pipelines side by side: mIoU, wIoU, mVC8, mVC16, frames a second.

    Each adapts on the first frames of a video (Warm-up-then-Freeze) and is scored on the rest.
    Every combination of warm-up, weather and stride is a run of its own over the same videos.
    Several warm-ups give a block of the table each, as in DiTTA's Table 1.

    Referring data sets are scored by J, F and J&F instead (--pipelines virst).

    Example: vseg evaluate camvid/dense15hz --format camvid11 --report report.html
    """
    segmentation = {'warmup_ratio': warmup_ratio, 'weather': weather, 'stride': stride,
                    'labels': labels, 'report': report, 'topic': topic, 'sweep': sweep or None,
                    'ablation': ablation or None, 'resume': resume, 'jobs': jobs, 'ray': ray}
    if format == STREET_QUESTIONS:
        # PyTorch is loaded only now, so that `vseg --help` answers at once
        from vseg_ros.commands.evaluate_street_questions import evaluate_street_command
        _refuse_given(segmentation | {'split': split, 'submission': submission}, format)
        evaluate_street_command(
            _only(source, format), clips=HELD_OUT_STREETS if clips is None else clips, seed=seed,
            pipelines=pipelines, json=json, params=params, overrides=param or [])
        return
    if clips is not None:
        raise UserError(f'--clips applies to {STREET_QUESTIONS}, not to a source of format '
                        f'{format}: leave it away')
    if format in REFERRING_FORMATS:
        _refuse_given(segmentation | {'seed': seed}, format)
        evaluate_referring_command(
            _only(source, format), format, split=split, pipelines=pipelines,
            submission=submission, json=json, params=params, overrides=param or [])
        return
    if submission is not None:
        raise UserError(f'--submission applies to {", ".join(REFERRING_FORMATS)}, not to a source '
                        f'of format {format}: leave it away')
    ratios = read_ratios(warmup_ratio)
    conditions = combine(read_weathers(weather), read_strides(stride))
    runner = choose_runner(jobs, ray)
    variants = make_variants(
        split_names(pipelines), params, [*(param or []), f'seed={seed}'],
        [read_sweep(text) for text in sweep or []], ablation or [])
    videos = VideoSources(source, cast(SourceFormat, format), split, topic, labels)
    plan = make_plan(videos.open(variants), variants, ratios, conditions,
                     source=' '.join(source), seed=seed)
    tell(evaluate_plan(plan, runner, RunFolder(resume) if resume else None), json, report)


def _only(sources: list[str], format: str) -> str:
    """
    Return the source of a format that takes one.

    Raises:
        UserError: there are several.

    """
    if len(sources) > 1:
        raise UserError(f'a source of format {format} is one folder, not {len(sources)}: give '
                        'them one by one')
    return sources[0]


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
