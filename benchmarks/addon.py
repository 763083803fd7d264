"""
The add-on's window attention against full attention with a mask: time and peak memory.

Every number is taken in a process of its own, at the size of a 480 x 864 input (120 x 216 places,
256 channels, 124 classes). Full attention needs some 9 GB and a minute or two.

    python benchmarks/addon.py [--threads N]
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vseg_ros.ditta.window_attention import window_attention

SIZE, WIDTH, CLASSES, RADIUS = (120, 216), 256, 124, 5

Attention = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def full_attention(query: Tensor, key: Tensor, value: Tensor, radius: int) -> Tensor:
    """
    Attend from everywhere to everywhere and mask what is outside the window.

    Args:
        query: float [1, D, h, w].
        key: same shape.
        value: float [1, C, h, w].
        radius: of the window.

    Returns:
        float [1, C, h, w].

    """
    height, width = query.shape[-2:]
    y = torch.arange(height).repeat_interleave(width)
    x = torch.arange(width).repeat(height)
    far = ((y[:, None] - y).abs_() > radius).logical_or_((x[:, None] - x).abs_() > radius)
    scores = query[0].flatten(1).T @ key[0].flatten(1)
    weights = scores.masked_fill_(far, float('-inf')).softmax(-1)
    return (weights @ value[0].flatten(1).T).T.reshape(value.shape)


IMPLEMENTATIONS: dict[str, Attention] = {'windowed': window_attention, 'full': full_attention}


def measure(name: str, backward: bool, repeats: int, threads: int) -> tuple[float, float]:
    """
    Run one implementation in this process, which should be a fresh one.

    Args:
        name: of the implementation.
        backward: also compute the gradients of all three maps.
        repeats: runs, of which the fastest counts.
        threads: that torch may use.

    Returns:
        seconds, and MiB of memory at the peak beyond what the inputs take.

    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    query, key = (torch.randn(1, *SIZE, WIDTH).permute(0, 3, 1, 2) for _ in range(2))
    inputs = [query, key, torch.randn(1, CLASSES, *SIZE)]
    for x in inputs:
        x.requires_grad_(backward)
    small = [x[:, :, :12, :12] for x in inputs]
    _run(name, small)
    gc.collect()
    before = _memory('VmRSS')
    seconds = min(_run(name, inputs) for _ in range(repeats))
    return seconds, _memory('VmHWM') - before


def _run(name: str, inputs: list[Tensor]) -> float:
    start = time.perf_counter()
    query, key, value = inputs
    attended = IMPLEMENTATIONS[name](query, key, value, RADIUS)
    if attended.requires_grad:
        torch.autograd.grad(attended, inputs, torch.ones_like(attended))
    return time.perf_counter() - start


def _memory(field: str) -> float:
    """Read a size of this process, in MiB; a peak that getrusage gives outlives an exec."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def compare(threads: int = 1) -> dict[str, float]:
    """
    Measure both implementations, forward alone and with backward.

    Args:
        threads: that torch may use.

    Returns:
        for `forward` and `backward` (both passes): seconds and MiB of each implementation, how
        many times faster the windowed one is, and the share of the memory it needs.

    """
    numbers: dict[str, float] = {}
    for mode in ('forward', 'backward'):
        for name in IMPLEMENTATIONS:
            arguments = (name, mode == 'backward', 5 if name == 'windowed' else 1, threads)
            with multiprocessing.get_context('spawn').Pool(1) as pool:
                seconds, mib = pool.apply(measure, arguments)
            numbers[f'{mode}_{name}_seconds'] = seconds
            numbers[f'{mode}_{name}_mib'] = mib
        numbers[f'{mode}_speedup'] = (numbers[f'{mode}_full_seconds']
                                      / numbers[f'{mode}_windowed_seconds'])
        numbers[f'{mode}_memory_ratio'] = (numbers[f'{mode}_windowed_mib']
                                           / numbers[f'{mode}_full_mib'])
    return numbers


def main() -> None:
    """Print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0].strip())
    parser.add_argument('--threads', type=int, default=1, help='threads for torch (default 1)')
    print(json.dumps(compare(parser.parse_args().threads), indent=2))


if __name__ == '__main__':
    main()
