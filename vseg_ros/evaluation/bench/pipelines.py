"""
Any pipeline of frames as a user has it, in turns with the plain segmenter.

What adapts does so over a warm-up first: its speed meanwhile is a number of its own. Afterwards
both label the same new frames.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from vseg_ros.evaluation.bench.measure import interleave, rates, times_faster
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.frame import Frame
from vseg_ros.pipeline import SegmentationPipeline, create_pipeline
from vseg_ros.settings import PIPELINE_SETTINGS, PipelineSettings


def frame_settings(pipeline: str, segmenter: str, seed: int, warmup: int) -> PipelineSettings:
    """Return a pipeline's default settings on a CPU, with a warm-up of so many frames."""
    settings = PIPELINE_SETTINGS[pipeline].model_validate(
        {'segmenter': segmenter, 'device': 'cpu', 'input_size': 0, 'seed': seed})
    return settings.with_warmup_frames(warmup)


def compare_with_plain(pipeline: str, segmenter: str, height: int, width: int, seed: int,
                       warmup: int, frames: int, rounds: int) -> dict[str, float]:
    """
    Time a pipeline and the plain segmenter in turns.

    Args:
        pipeline: name of one that takes a segmenter.
        segmenter: name or path.
        height: of the frames.
        width: of the frames.
        seed: of the street and of the pipeline.
        warmup: frames that the pipeline has seen before.
        frames: that each is timed on in a round.
        rounds: turns of each.

    Returns:
        `fps` and `fps_over_iss` with their quartiles; and `warmup_fps`, over the warm-up, of a
        pipeline that has one.

    """
    video = street_frames(seed, warmup + rounds * frames, (height, width))
    plain, running = (create_pipeline(name, frame_settings(name, segmenter, seed, warmup))
                      for name in ('iss', pipeline))
    before = step_seconds(running, video[:warmup])

    def part(number: int) -> list[Frame]:
        return video[warmup + number * frames:][:frames]

    times = interleave({'iss': lambda number: step_seconds(plain, part(number)),
                        'other': lambda number: step_seconds(running, part(number))}, rounds)
    adapts = 'warmup' in PIPELINE_SETTINGS[pipeline].model_fields
    return {**rates(times['other']).flat('fps'),
            **times_faster(times['iss'], times['other']).flat('fps_over_iss'),
            **({'warmup_fps': len(before) / sum(before)} if adapts else {})}


def step_seconds(pipeline: SegmentationPipeline, frames: Sequence[Frame]) -> list[float]:
    """Give frames to a pipeline one by one; return the seconds of each."""
    seconds = []
    for frame in frames:
        start = time.perf_counter()
        pipeline.step(frame)
        seconds.append(time.perf_counter() - start)
    return seconds
