"""`vseg replay`: run a pipeline over a bag as its node would, deterministically."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Optional

import typer

from vseg_ros.atomic import refuse_same
from vseg_ros.commands.options import Override, Params, Source, Topic
from vseg_ros.commands.progress import ProgressBar, console, note, progress_bar
from vseg_ros.datasets.weather import parse_weather
from vseg_ros.datasets.weather_source import WeatherSource
from vseg_ros.errors import UserError
from vseg_ros.evaluation.protocol import warmup_length
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.io.result_bag import ResultBag
from vseg_ros.io.skipped_images import SkippedImages
from vseg_ros.io.source import open_source
from vseg_ros.io.video import VideoWriter
from vseg_ros.pipeline import (
    SegmentationPipeline,
    create_pipeline,
    require_pipeline,
)
from vseg_ros.settings import PIPELINE_SETTINGS, PipelineSettings, WarmupLength
from vseg_ros.settings_reading import load_pipeline_settings


def replay(source: Source,
           pipeline: Annotated[str, typer.Option(
               help=f'{", ".join(PIPELINE_SETTINGS)}; iss is the plain segmenter.')] = 'ditta',
           out: Annotated[Optional[Path], typer.Option(  # noqa: UP045
               metavar='OUT.mcap', help='Result bag: the input topics and the output topics '
               'of the node.')] = None,
           video: Annotated[Optional[Path], typer.Option(  # noqa: UP045
               metavar='OUT.mp4', help='Video with the labels laid over the frames.')] = None,
           save: Annotated[Optional[Path], typer.Option(  # noqa: UP045
               metavar='F.safetensors', help='Keep what DiTTA learned, for '
               '-p adapted_weights=F.safetensors.')] = None,
           weather: Annotated[Optional[str], typer.Option(  # noqa: UP045
               metavar='NAME[:SEVERITY]', help='Paint weather over the frames before the '
               'pipeline sees them: fog, frost, snow or spatter, from 1 (slight) to 5 (heavy), 3 '
               'if left away; such as fog:3. The result bag holds the frames as painted.')] = None,
           params: Params = None, param: Override = None, topic: Topic = None) -> None:
    """
    Run a pipeline over a bag, frame by frame, none dropped but those that cannot be decoded.

    Two runs with one seed write the same labels, and with --weather the same weather.

    Example: vseg replay drive.mcap --pipeline ditta --out out.mcap --video out.mp4

    In fog: vseg replay drive.mcap --weather fog:3 --out foggy.mcap
    """
    if out is None and video is None and save is None:
        raise UserError('nothing to write: name --out OUT.mcap, --video OUT.mp4 or --save F')
    require_pipeline(pipeline)
    sky = None if weather is None else parse_weather(weather)
    settings = load_pipeline_settings([pipeline], params, param or [])[pipeline]
    skipped = SkippedImages()
    frames = open_source(source, topic=topic, with_labels=False, skipped=skipped)
    for output in (out, video, save):
        if output is not None:
            refuse_same(frames.path, output)
    runner = create_pipeline(pipeline, resolve_warmup(settings, frames))
    keep = None if save is None else _saver(pipeline, runner, save)
    seen = frames if sky is None else WeatherSource(frames, sky, settings.seed)
    started = perf_counter()
    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar(f'{pipeline} on {seen.name}', frames.frame_count))
        result = stack.enter_context(
            ResultBag.open(out, pipeline, frames, altered=seen is not frames)) if out else None
        film = stack.enter_context(VideoWriter(video)) if video else None
        count = _write(seen, runner, pipeline, result, film, bar)
    if not count:
        raise UserError(f'{source} has no frame to segment')
    if keep is not None:
        keep()
    rate = count / (perf_counter() - started)
    console.print(f'{count} frames in, {count} label images out, {rate:.1f} frames a second')
    note(runner.status.message)
    note(skipped.note)


def _saver(name: str, runner: SegmentationPipeline, path: Path) -> Callable[[], None]:
    """Return what saves what a pipeline will have learned; refuse one that learns nothing."""
    if not hasattr(runner, 'save'):
        raise UserError(f'{name} learns nothing that could be saved: leave --save away')
    # PyTorch is loaded only now, so that `vseg --help` answers at once
    from vseg_ros.ditta.onnx_pipeline import ExportedDittaPipeline
    if isinstance(runner, ExportedDittaPipeline):
        runner.save(path)  # says why it cannot
    return partial(runner.save, path)


def resolve_warmup(settings: PipelineSettings, source: FrameSource) -> PipelineSettings:
    """Turn a warm-up given as a share of the bag into frames."""
    warmup = getattr(settings, 'warmup', None)
    if not isinstance(warmup, WarmupLength) or not warmup.ratio:
        return settings
    count = source.frame_count
    if count is None:
        count = sum(1 for _ in source)
    return settings.with_warmup_frames(warmup_length(count, warmup.ratio))


def _write(source: FrameSource, runner: SegmentationPipeline, name: str,
           result: ResultBag | None, film: VideoWriter | None, bar: ProgressBar) -> int:
    count, state = 0, None
    for frame, segmentation in segmented(source, runner):
        if result is not None:
            result.write(frame, segmentation)
            if runner.status.state is not state:
                state = runner.status.state
                result.write_diagnostics(int(bool(runner.status.message)),
                                         runner.status.message or state.value,
                                         {'state': state.value})
        if film is not None:
            film.write(segmentation.label_set.overlay(frame.image, segmentation.labels),
                       frame.stamp)
        count += 1
        bar.advance(f'{name} {runner.status.state.value}')
    return count


def segmented(source: FrameSource, runner: SegmentationPipeline,
              ) -> Iterator[tuple[Frame, Segmentation]]:
    """Run a pipeline over a source; each segmentation comes with the frame it belongs to."""
    waiting: list[Frame] = []
    for item in source:
        waiting.append(item.frame)
        yield from _paired(waiting, runner.step(item.frame))
    yield from _paired(waiting, runner.finish())


def _paired(waiting: list[Frame], ready: Sequence[Segmentation],
            ) -> Iterator[tuple[Frame, Segmentation]]:
    for segmentation in ready:
        yield waiting.pop(0), segmentation
