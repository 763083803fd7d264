"""The whole benchmark: which part is measured when, at what length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vseg_ros.evaluation.bench import (
    adaptation,
    addon,
    clips,
    frozen,
    frozen_random,
    large,
    memory,
    pipelines,
    questions,
    questions_large,
)
from vseg_ros.evaluation.bench.measure import run_apart
from vseg_ros.evaluation.bench.results import BenchResult
from vseg_ros.evaluation.machine import describe_machine

Progress = Callable[[str], None]
LARGE = 'b5'


@dataclass(frozen=True)
class BenchPlan:
    """
    What to measure.

    Attributes:
        pipelines: names; DiTTA is always timed beside the plain segmenter.
        segmenter: name or path.
        size: height and width of the frames in pixels, multiples of 32.
        stream_frames: length of the stream that memory must stay flat over.
        threads: that the networks may use.
        seed: of the street and of all that is random.
        quick: shorter and smaller, without the large segmenter, for a first look.
        weights: of Time2General; name, path or `clips.RANDOM`.
        virst_weights: of VIRST; name, path or `questions.RANDOM`.

    """

    pipelines: Sequence[str]
    segmenter: str
    size: tuple[int, int]
    stream_frames: int
    threads: int
    seed: int
    quick: bool
    weights: str
    virst_weights: str = questions.RANDOM

    @property
    def common(self) -> dict[str, Any]:
        """Arguments of every part that segments frames of this size."""
        return {'segmenter': self.segmenter, 'height': self.size[0], 'width': self.size[1],
                'seed': self.seed}


def run_bench(plan: BenchPlan, progress: Progress) -> BenchResult:
    """
    Measure everything, each part in a process of its own.

    Args:
        plan: what to measure.
        progress: told what is measured next.

    Raises:
        UserError: the segmenter is not there, or a part failed, as for want of memory.

    """
    result = BenchResult(describe_machine(), plan.threads, plan.size, plan.segmenter, plan.seed,
                         {name: {} for name in plan.pipelines})
    if 'time2general' in plan.pipelines:
        _measure_clips(plan, result, progress)
    if 'virst' in plan.pipelines:
        _measure_questions(plan, result, progress)
    others = [name for name in plan.pipelines if name not in ('time2general', 'virst')]
    if {'iss', 'ditta'} & set(others):
        _measure_frames(plan, result, progress)
    for name in others:
        if name not in ('iss', 'ditta'):
            _measure_baseline(plan, name, result, progress)
    for name in others:
        progress(f'peak memory of {name}')
        result.pipelines[name]['peak_mib'] = run_apart(
            memory.measure_peak, plan.threads, **plan.common, pipeline=name, warmup=4, frames=12)
    if 'ditta' in plan.pipelines:
        _measure_adaptation(plan, result.pipelines['ditta'], progress)
        _measure_addon(plan, result, progress)
        progress(f'memory over {plan.stream_frames} frames')
        result.pipelines['ditta'] |= run_apart(
            memory.measure_stream, plan.threads, segmenter=plan.segmenter, seed=plan.seed,
            frames=plan.stream_frames)
    return result


def _measure_frames(plan: BenchPlan, result: BenchResult, progress: Progress) -> None:
    progress('frames a second of the plain segmenter and of frozen DiTTA, in turns')
    frames = run_apart(frozen.compare_shipped, plan.threads, **plan.common,
                       warmup=4 if plan.quick else 15, frames=12,
                       rounds=3 if plan.quick else 10)
    if 'iss' in plan.pipelines:
        result.pipelines['iss'] |= {key.removeprefix('iss_'): value for key, value in
                                    frames.items() if key.startswith(('iss_', 'network_'))}
    if 'ditta' not in plan.pipelines:
        return
    ditta = result.pipelines['ditta']
    ditta |= {key: value for key, value in frames.items()
              if not key.startswith(('iss_', 'network_'))}
    progress("peak memory of the released code's way of computing a frame")
    ditta['released_peak_mib'] = run_apart(memory.measure_released_peak, plan.threads,
                                           **plan.common)
    if plan.quick:
        result.skipped.append(f'SegFormer-{LARGE.upper()} with random weights: left out by '
                              '--quick')
        return
    progress(f'the same with a SegFormer-{LARGE.upper()} of random weights')
    large = run_apart(frozen_random.compare_random, plan.threads, variant=LARGE, **plan.common,
                      weak_cells=frames['weak_cells'], frames=36)
    ditta |= {f'{LARGE}_{key}': value for key, value in large.items()}


def _measure_baseline(plan: BenchPlan, name: str, result: BenchResult, progress: Progress,
                      ) -> None:
    """Measure a pipeline that takes a segmenter beside the plain one."""
    progress(f'frames a second of the plain segmenter and of {name}, in turns')
    result.pipelines[name] |= run_apart(
        pipelines.compare_with_plain, plan.threads, **plan.common, pipeline=name,
        warmup=4 if plan.quick else 15, frames=8, rounds=2 if plan.quick else 6)


def _measure_clips(plan: BenchPlan, result: BenchResult, progress: Progress) -> None:
    """Measure Time2General."""
    numbers = result.pipelines['time2general']
    size: dict[str, int] = {'height': plan.size[0], 'width': plan.size[1], 'seed': plan.seed}
    progress('frames a second of Time2General and of its backbone, in turns')
    numbers |= run_apart(clips.compare_modes, plan.threads, **size, weights=plan.weights, frames=8,
                         rounds=3 if plan.quick else 6)
    progress('clips of several lengths')
    numbers |= run_apart(clips.compare_lengths, plan.threads, **size,
                         rounds=2 if plan.quick else 5)
    progress('peak memory of time2general')
    numbers['peak_mib'] = run_apart(memory.measure_clips_peak, plan.threads, **size,
                                    weights=plan.weights, frames=12)
    progress(f'memory over {plan.stream_frames} frames')
    numbers |= run_apart(memory.measure_clips_stream, plan.threads, weights=plan.weights,
                         seed=plan.seed, frames=plan.stream_frames)
    if torch.cuda.is_available():
        progress('DINOv2-L at 1024x512 on the GPU')
        numbers |= run_apart(large.time_large, plan.threads, device='cuda',
                             frames=20 if plan.quick else 100)
    else:
        result.skipped.append('DINOv2-L at 1024x512: needs a GPU')


def _measure_questions(plan: BenchPlan, result: BenchResult, progress: Progress) -> None:
    """Measure VIRST."""
    numbers = result.pipelines['virst']
    progress('first and second questions about windows of VIRST, in turns')
    numbers |= run_apart(questions.compare_questions, plan.threads, weights=plan.virst_weights,
                         height=plan.size[0], width=plan.size[1], seed=plan.seed,
                         rounds=2 if plan.quick else 5)
    progress(f'memory and time of following over {plan.stream_frames} frames')
    numbers |= run_apart(questions.measure_following, plan.threads, weights=plan.virst_weights,
                         seed=plan.seed, frames=plan.stream_frames)
    if torch.cuda.is_available():
        progress('a language model of 2 B parameters and SAM 2.1 tiny at 1024 on the GPU')
        numbers |= run_apart(questions_large.time_large_questions, plan.threads, device='cuda',
                             rounds=3 if plan.quick else 10)
    else:
        result.skipped.append('VIRST with a language model of 2 B parameters and SAM 2.1 tiny at '
                              '1024: needs a GPU')


def _measure_adaptation(plan: BenchPlan, ditta: dict[str, Any], progress: Progress) -> None:
    progress('adaptation steps, the plain way and ours, in turns')
    ditta |= run_apart(adaptation.time_steps, plan.threads, **plan.common,
                       rounds=1 if plan.quick else 3)
    peaks: dict[str, float | None] = {}
    for name in ('ours', 'plain'):
        progress(f'memory of an adaptation step: {name}')
        peaks[name] = run_apart(adaptation.peak_of_steps, plan.threads, **plan.common, name=name)
        ditta[f'adaptation_{name}_mib'] = peaks[name]
    ours, plain = peaks['ours'], peaks['plain']
    ditta['adaptation_memory_ratio'] = ours / plain if ours and plain else None


def _measure_addon(plan: BenchPlan, result: BenchResult, progress: Progress) -> None:
    size = addon.INPUT_SIZE
    if plan.quick:
        size = (size[0] // 2, size[1] // 2)
    numbers = addon.compare(plan.threads, size, progress)
    skipped = numbers.pop('addon_skipped', None)
    if skipped is not None:
        result.skipped.append(str(skipped))
    result.pipelines['ditta'] |= {'addon_size': list(size), **numbers}
