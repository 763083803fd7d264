"""
The add-on's window attention against full attention with a mask: time and peak memory.

The default size is that of a 480 x 864 input (120 x 216 places, 256 channels, 124 classes). Every
measurement has a process of its own, ours before and after each of the plain ones.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import TypedDict

import torch
from torch import Tensor

from vseg_ros.ditta.window_attention import window_attention
from vseg_ros.evaluation.bench.measure import Spread, available_mib, memory_mib, run_apart
from vseg_ros.evaluation.bench.plainest import Attention, full_attention

INPUT_SIZE, WIDTH, CLASSES, RADIUS = (480, 864), 256, 124, 5
_MATRICES = 4  # of [hw, hw] floats that full attention holds at its peak, forward and backward

IMPLEMENTATIONS: dict[str, Attention] = {'windowed': window_attention, 'full': full_attention}


class Run(TypedDict):
    """What one process measured: seconds of every run, MiB at the peak or None."""

    seconds: list[float]
    mib: float | None


def measure(name: str, backward: bool, repeats: int, height: int, width: int,
            ) -> Run:
    """
    Run one implementation in this process, which should be a fresh one.

    Args:
        name: of the implementation.
        backward: also compute the gradients of all three maps.
        repeats: timed runs.
        height: of the embedding.
        width: of the embedding.

    Returns:
        'seconds' of every run, and 'mib' of memory at the peak beyond what the inputs take, None
        on a system that does not say.

    """
    torch.manual_seed(0)
    query, key = (torch.randn(1, height, width, WIDTH).permute(0, 3, 1, 2) for _ in range(2))
    inputs = [query, key, torch.randn(1, CLASSES, height, width)]
    for x in inputs:
        x.requires_grad_(backward)
    _run(name, [x[:, :, :12, :12] for x in inputs])
    gc.collect()
    before = memory_mib('VmRSS')
    seconds = [_run(name, inputs) for _ in range(repeats)]
    peak = memory_mib('VmHWM')
    return {'seconds': seconds,
            'mib': None if before is None or peak is None else peak - before}


def _run(name: str, inputs: list[Tensor]) -> float:
    start = time.perf_counter()
    query, key, value = inputs
    attended = IMPLEMENTATIONS[name](query, key, value, RADIUS)
    if attended.requires_grad:
        torch.autograd.grad(attended, inputs, torch.ones_like(attended))
    return time.perf_counter() - start


def needed_mib(size: tuple[int, int]) -> float:
    """Return about how much memory full attention takes for an input of that size."""
    places = (size[0] // 4) * (size[1] // 4)
    return _MATRICES * 4 * places ** 2 / 2 ** 20


def compare(threads: int, size: tuple[int, int] = INPUT_SIZE,
            progress: Callable[[str], None] = lambda _: None) -> dict[str, float | str | None]:
    """
    Measure both implementations, forward alone and forward with backward.

    Args:
        threads: that torch may use.
        size: of the input image; the embedding has a quarter of it.
        progress: told what is measured next.

    Returns:
        `addon_speedup` and `addon_memory_ratio` of forward and backward together, which is what
        adaptation does; the same of forward alone as `addon_forward_…`; seconds and MiB of each.
        Or `addon_skipped`, the reason why nothing was measured.

    """
    available = available_mib()
    if available is not None and available < 1.1 * needed_mib(size):
        return {'addon_skipped': f'full attention at {size[0]}x{size[1]} needs about '
                f'{needed_mib(size) / 1024:.0f} GiB of memory, {available / 1024:.0f} GiB are '
                'free'}
    numbers: dict[str, float | str | None] = {}
    for prefix, backward in (('addon_forward', False), ('addon', True)):
        runs: dict[str, list[Run]] = {'windowed': [], 'full': []}
        for name in ('windowed', 'full', 'windowed'):
            progress(f'{prefix.replace("_", ", ")}{" and backward" * backward}: {name}')
            runs[name].append(run_apart(
                measure, threads, name=name, backward=backward, height=size[0] // 4,
                width=size[1] // 4, repeats=1 if name == 'full' else 5))
        numbers |= _summary(prefix, runs)
    return numbers


def _summary(prefix: str, runs: dict[str, list[Run]]) -> dict[str, float | str | None]:
    seconds = {name: [value for run in done for value in run['seconds']]
               for name, done in runs.items()}
    plain = statistics.median(seconds['full'])
    peaks = {name: max((run['mib'] or 0 for run in done), default=0.0)
             for name, done in runs.items()}
    speedup = Spread.of([plain / value for value in seconds['windowed']])
    return {
        **speedup.flat(f'{prefix}_speedup'),
        f'{prefix}_memory_ratio': peaks['windowed'] / peaks['full'] if peaks['full'] else None,
        **{f'{prefix}_{name}_seconds': statistics.median(values)
           for name, values in seconds.items()},
        **{f'{prefix}_{name}_mib': peak or None for name, peak in peaks.items()}}
