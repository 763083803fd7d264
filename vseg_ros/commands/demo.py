"""`vseg demo`: every pipeline over a synthetic street bag, and a report to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vseg_ros.commands.evaluate import evaluate_ratios, print_scores
from vseg_ros.commands.progress import console, progress_bar
from vseg_ros.commands.replay import segmented
from vseg_ros.datasets.weather import Weather
from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import Condition
from vseg_ros.evaluation.protocol import warmup_length
from vseg_ros.evaluation.report import write_report
from vseg_ros.evaluation.report_questions import AnsweredQuestion, questions_section
from vseg_ros.evaluation.results import write_results
from vseg_ros.evaluation.side_by_side import side_by_side, write_png
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.io.result_bag import ResultBag
from vseg_ros.io.source import open_source
from vseg_ros.io.video import VideoWriter
from vseg_ros.pipeline import create_pipeline
from vseg_ros.settings import (
    DittaSettings,
    SegmenterSettings,
    Time2GeneralSettings,
    VirstSettings,
)
from vseg_ros.video_query import create_video_query

STREET_FPS = 15.0
WARMUP_RATIO = 0.1
FOG = Condition(Weather('fog', 5))


def demo(out: Annotated[Path, typer.Option(metavar='DIR', help='Where everything goes.')]
         = Path('demo'),
         frames: Annotated[int, typer.Option(min=20, help='Length of the street, frames at '
                                             '15 Hz.')] = 150,
         seed: Annotated[int, typer.Option(min=0, help='Which street.')] = 12,
         report: Annotated[Path | None, typer.Option(
             metavar='F.html', help='Where the report goes; DIR/report.html if not named.')]
         = None,
         json: Annotated[Path | None, typer.Option(
             '--json', metavar='F.json', help='Where the scores go; DIR/scores.json if not '
             'named.')] = None) -> None:
    """
    Drive down a synthetic street, in clear weather and in heavy fog, and compare the methods.

    Then ask three questions about it, one of which nothing in the scene answers.

    Writes DIR/street.mcap (the camera), DIR/ditta.mcap (what the node would publish),
    DIR/ditta.mp4 and DIR/demo.png (DiTTA beside the plain segmenter), DIR/fog.mp4 and
    DIR/fog.png (Time2General beside it, in fog), and DIR/report.html. Needs no GPU, no network
    and no ROS.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{out} cannot be made a folder: {error.strerror}') from error
    bag = out / 'street.mcap'
    street = open_source(f'street:{seed}:{frames}', fps=STREET_FPS)
    with progress_bar('painting the street', frames) as bar:
        write_camera_bag(street, bag, on_frame=bar.advance)
    drive = open_source(bag)
    results = evaluate_ratios(
        [drive], {'iss': SegmenterSettings(), 'ditta': DittaSettings(),
                  'time2general': Time2GeneralSettings()}, [WARMUP_RATIO], str(bag), 0)
    results += evaluate_ratios(
        [drive], {'iss': SegmenterSettings(), 'time2general': Time2GeneralSettings()},
        [WARMUP_RATIO], str(bag), 0, [FOG])
    print_scores(results)
    write_results(json or out / 'scores.json', results)
    answered = _ask(seed, frames)
    write_report(report or out / 'report.html', results, command='vseg demo',
                 more=questions_section(answered))
    _film_ditta(drive, out, frames)
    _film_fog(FOG(drive, 0), out, frames)
    console.print(f'look at {report or out / "report.html"}, {out / "ditta.mp4"} and '
                  f'{out / "fog.mp4"}; {out / "ditta.mcap"} opens in Foxglove and RViz')


def _ask(seed: int, frames: int) -> list[AnsweredQuestion]:
    """Ask VIRST about the middle of the street, and tell what it says."""
    # PyTorch is loaded only now, so that `vseg --help` answers at once
    from vseg_ros.commands.demo_questions import ask_questions, choose_questions, told, window_of

    settings = VirstSettings()
    query = create_video_query(settings)
    clip = window_of(seed, frames, STREET_FPS, settings.window.seconds)
    answered = ask_questions(query, clip, choose_questions(clip))
    for line in told(answered):
        console.print(line)
    return answered


def _film_ditta(drive: FrameSource, out: Path, frames: int) -> None:
    """Replay once more into a result bag and a video of both pipelines side by side."""
    plain = create_pipeline('iss', SegmenterSettings())
    ditta = create_pipeline('ditta', DittaSettings().with_warmup_frames(
        warmup_length(frames, WARMUP_RATIO)))
    with (progress_bar('filming', frames) as bar,
          ResultBag.open(out / 'ditta.mcap', 'ditta', drive) as result,
          VideoWriter(out / 'ditta.mp4', STREET_FPS) as film):
        for index, (frame, steady) in enumerate(segmented(drive, ditta)):
            flickering = plain.step(frame)[0]
            result.write(frame, steady)
            picture = side_by_side(frame, {'plain segmenter': flickering,
                                           f'DiTTA  {ditta.status.state.value}': steady})
            film.write(picture, frame.stamp)
            if index == frames // 2:
                write_png(out / 'demo.png', picture)
            bar.advance()


def _film_fog(drive: FrameSource, out: Path, frames: int) -> None:
    """Film the plain segmenter and Time2General side by side in bad weather."""
    plain = create_pipeline('iss', SegmenterSettings())
    robust = create_pipeline('time2general', Time2GeneralSettings())
    with (progress_bar('filming in fog', frames) as bar,
          VideoWriter(out / 'fog.mp4', STREET_FPS) as film):
        for index, (frame, steady) in enumerate(segmented(drive, robust)):
            picture = side_by_side(frame, {'plain segmenter': plain.step(frame)[0],
                                           'Time2General': steady})
            film.write(picture, frame.stamp)
            if index == frames // 2:
                write_png(out / 'fog.png', picture)
            bar.advance()
