"""
`vseg query`: ask in words for an object of a recorded drive, as one would ask the node.

A clip of at most `window.max_frames` frames is asked about as a whole. Of a longer one, the first
so many are, and from there the answer is followed to the end, asked again about new frames every
`follow.reanchor` seconds: every frame gets a mask, and memory holds one window. Where stamps
fall or images change their size, the question is asked anew, as the node does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Annotated, Optional

import numpy as np
import typer

from vseg_ros.atomic import refuse_same
from vseg_ros.commands.options import Override, Params, Source, Topic
from vseg_ros.commands.progress import ProgressBar, console, note, progress_bar
from vseg_ros.errors import UserError
from vseg_ros.frame import BoolArray, Frame
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.io.mask_overlay import draw_answer
from vseg_ros.io.result_bag import ResultBag
from vseg_ros.io.skipped_images import SkippedImages
from vseg_ros.io.source import open_source
from vseg_ros.io.video import VideoWriter
from vseg_ros.settings import VirstSettings
from vseg_ros.settings_reading import load_settings
from vseg_ros.video_query import (
    LastingFollower,
    VideoQuery,
    check_question,
    create_video_query,
)

_NODE = 'virst'
_SECOND = 1_000_000_000

Start = Annotated[float, typer.Option(
    metavar='SECONDS', min=0, help='Leave out what comes before, in s from the first frame.')]
Stop = Annotated[Optional[float], typer.Option(  # noqa: UP045
    metavar='SECONDS', min=0, help='Leave out what comes after, in s from the first frame.')]


def query(source: Source,
          text: Annotated[str, typer.Argument(help='The question, such as "the white car".')],
          out: Annotated[Optional[Path], typer.Option(  # noqa: UP045
              metavar='OUT.mcap', help='Result bag: the input topics and the output topics of '
              'the node.')] = None,
          video: Annotated[Optional[Path], typer.Option(  # noqa: UP045
              metavar='OUT.mp4', help='Video with the mask and the sentence over the frames.')]
          = None,
          start: Start = 0.0, stop: Stop = None, params: Params = None, param: Override = None,
          topic: Topic = None) -> None:
    """
    Ask in words for an object: its mask on every frame, and an answer.

    Example: vseg query drive.mcap "the white car on the left" --out out.mcap --video out.mp4
    """
    question = check_question(text)
    if stop is not None and stop < start:
        raise UserError(f'--stop {stop:g} comes before --start {start:g}: exchange them')
    settings = load_settings(VirstSettings, params, param or [])
    skipped = SkippedImages()
    frames = open_source(source, topic=topic, with_labels=False, skipped=skipped)
    for output in (out, video):
        if output is not None:
            refuse_same(frames.path, output)
    model = create_video_query(settings)
    began = perf_counter()
    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar(f'asking {frames.name}'))
        result = stack.enter_context(ResultBag.open(out, _NODE, frames)) if out else None
        film = stack.enter_context(VideoWriter(video)) if video else None
        clip = _between(frames, start, stop)
        summary = _write(_answered(model, clip, question, settings.window.max_frames),
                         question, result, film, bar)
        if not summary.frames:
            raise UserError(f'{source} has no frame between --start and --stop: choose other '
                            'times')
    summary.show(perf_counter() - began)
    note(skipped.note)


@dataclass
class _Summary:
    """
    What is told at the end.

    Attributes:
        answers: what was said, and the stamp from which on, in ns.
        score: of the first answer.
        frames: how many there were.
        visible: in how many of them there is something.

    """

    answers: list[tuple[int, str]] = field(default_factory=list)
    score: float = 0.0
    frames: int = 0
    visible: int = 0

    def show(self, seconds: float) -> None:
        """Print the answer, how it changed, and what it was found in."""
        began = self.answers[0][0]
        for number, (stamp, answer) in enumerate(self.answers):
            since = f'from {(stamp - began) / _SECOND:.1f} s on: ' if number else ''
            print(since + (answer or '(no words)'))
        print(f'score {self.score:.2f}, visible in {self.visible} of {self.frames} frames '
              f'({self.visible / self.frames:.0%})')
        console.print(f'{self.frames / seconds:.1f} frames a second')


@dataclass(frozen=True)
class _Answered:
    frame: Frame
    mask: BoolArray
    visible: bool
    answer: str
    score: float


def _between(source: FrameSource, start: float, stop: float | None) -> Iterator[Frame]:
    """Yield the frames between two times, in seconds from the first frame."""
    first: int | None = None
    for item in source:
        first = item.frame.stamp if first is None else first
        seconds = (item.frame.stamp - first) / _SECOND
        if stop is not None and seconds > stop:
            return
        if seconds >= start:
            yield item.frame


def _answered(model: VideoQuery, frames: Iterator[Frame], question: str,
              window: int) -> Iterator[_Answered]:
    """Ask about the first `window` frames and follow through the rest."""
    asked = list(islice(frames, window))
    if not asked:
        return
    track = model.ask(asked, question)
    for frame, mask, visible in zip(asked, track.masks, track.visible, strict=True):
        yield _Answered(frame, mask, bool(visible), track.text, track.score)
    if len(asked) < window:
        return
    follower = LastingFollower(model, question, asked[-1])
    for frame in frames:
        step = follower.step(frame)
        yield _Answered(frame, step.masks[-1], bool(step.visible[-1]), step.text, step.score)


def _write(answered: Iterator[_Answered], question: str, result: ResultBag | None,
           film: VideoWriter | None, bar: ProgressBar) -> _Summary:
    summary = _Summary()
    for each in answered:
        news = not summary.answers or each.answer != summary.answers[-1][1]
        if result is not None or film is not None:
            drawn = draw_answer(each.frame.image, each.mask, question, each.answer)
            if film is not None:
                film.write(drawn, each.frame.stamp)
            if result is not None:
                result.write_mask(each.frame, each.mask, drawn)
                if news:
                    result.write_diagnostics(0, each.answer, {
                        'question': question, 'answer': each.answer,
                        'score': f'{each.score:.3f}'})
        if not summary.frames:
            summary.score = each.score
        if news:
            summary.answers.append((each.frame.stamp, each.answer))
        summary.frames += 1
        summary.visible += int(each.visible and np.any(each.mask))
        bar.advance()
    return summary
