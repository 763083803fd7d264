"""How much memory a pipeline takes: at its peak, and over a stream that does not end."""

from __future__ import annotations

import torch

from vseg_ros.ditta.model import DittaModel
from vseg_ros.evaluation.bench.clips import weights_file
from vseg_ros.evaluation.bench.frozen import ditta_settings
from vseg_ros.evaluation.bench.measure import memory_mib
from vseg_ros.evaluation.bench.pipelines import frame_settings
from vseg_ros.evaluation.bench.plainest import PlainFrozen
from vseg_ros.evaluation.bench.scene import endless, street_frames
from vseg_ros.frame import Frame
from vseg_ros.models.loading import load_segmenter
from vseg_ros.pipeline import SegmentationPipeline, create_pipeline
from vseg_ros.settings import Time2GeneralSettings

STREAM_SIZE = (96, 160)
"""Size of the frames of the long stream, in pixels."""
SETTLED = 200
"""Frames after which a stream's memory should have settled."""


def measure_peak(pipeline: str, segmenter: str, height: int, width: int, seed: int, warmup: int,
                 frames: int) -> float | None:
    """
    Run a pipeline, its warm-up and adaptation included, in this process: a fresh one.

    Args:
        pipeline: name.
        segmenter: name or path.
        height: of the frames.
        width: of the frames.
        seed: of the street and of the pipeline.
        warmup: frames that are adapted to.
        frames: in all.

    Returns:
        MiB that the process had at most, or None on a system that does not say.

    """
    settings = frame_settings(pipeline, segmenter, seed, warmup)
    return _peak(create_pipeline(pipeline, settings), street_frames(seed, frames, (height, width)))


def measure_released_peak(segmenter: str, height: int, width: int, seed: int) -> float | None:
    """
    Label one frame the released code's way, in this process: a fresh one.

    Args:
        segmenter: name or path.
        height: of the frames.
        width: of the frames.
        seed: of the street and of the add-on.

    Returns:
        MiB that the process had at most, or None on a system that does not say.

    """
    settings = ditta_settings(segmenter, seed, 0)
    loaded = load_segmenter(segmenter)
    torch.manual_seed(seed)
    model = DittaModel(loaded.decoder, settings.fusion.radius).eval()
    images = [torch.tensor(frame.image) for frame in street_frames(seed, 2, (height, width))]
    PlainFrozen(loaded, model, settings.fusion.tau).step(torch.stack(images))
    return memory_mib('VmHWM')


def measure_clips_peak(weights: str, height: int, width: int, seed: int, frames: int,
                       ) -> float | None:
    """
    Run Time2General's sliding mode in this process: a fresh one.

    Args:
        weights: name, path or `clips.RANDOM`.
        height: of the frames.
        width: of the frames.
        seed: of the street and of random weights.
        frames: in all.

    Returns:
        MiB that the process had at most, or None on a system that does not say.

    """
    with weights_file(weights, seed) as name:
        return _peak(_sliding(name), street_frames(seed, frames, (height, width)))


def _peak(running: SegmentationPipeline, frames: list[Frame]) -> float | None:
    for frame in frames:
        running.step(frame)
    running.finish()
    return memory_mib('VmHWM')


def _sliding(weights: str) -> SegmentationPipeline:
    return create_pipeline('time2general', Time2GeneralSettings(
        weights=weights, device='cpu', input_size=0))


def measure_stream(segmenter: str, seed: int, frames: int) -> dict[str, float | None]:
    """
    Run DiTTA's frozen stage over many small frames, in this process: a fresh one.

    Args:
        segmenter: name or path.
        seed: of the street and of DiTTA.
        frames: after the warm-up; more than `SETTLED`.

    Returns:
        `stream_frames`; MiB after `SETTLED` frames and at the end, `stream_mib_settled` and
        `stream_mib_end`, None on a system that does not say.

    """
    warmup = 4
    ditta = create_pipeline('ditta', ditta_settings(segmenter, seed, warmup))
    return _stream(ditta, seed, warmup, frames)


def measure_clips_stream(weights: str, seed: int, frames: int) -> dict[str, float | None]:
    """
    Run Time2General's sliding mode over many small frames, in this process: a fresh one.

    Args:
        weights: name, path or `clips.RANDOM`.
        seed: of the street and of random weights.
        frames: more than `SETTLED`.

    Returns:
        as `measure_stream`.

    """
    with weights_file(weights, seed) as name:
        return _stream(_sliding(name), seed, 0, frames)


def _stream(running: SegmentationPipeline, seed: int, warmup: int, frames: int,
            ) -> dict[str, float | None]:
    painted = street_frames(seed, warmup + 30, STREAM_SIZE)
    settled = None
    for index, frame in enumerate(endless(painted, warmup + frames)):
        running.step(frame)
        if index == warmup + SETTLED:
            settled = memory_mib('VmRSS')
    return {'stream_frames': float(frames), 'stream_mib_settled': settled,
            'stream_mib_end': memory_mib('VmRSS')}
