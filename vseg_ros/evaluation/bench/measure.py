"""
Timing and memory: medians of interleaved runs, and peaks of processes of their own.

Ratios are taken between contestants that ran in turns, A B A B, so that a machine which slows
down or speeds up does so for both. Memory is what the system accounts to a process; as the peak
of a process can only grow, everything whose peak is asked for runs in a fresh one (`run_apart`).
"""

from __future__ import annotations

import ctypes
import importlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vseg_ros.errors import UserError

_STATUS = Path('/proc/self/status')


@dataclass(frozen=True)
class Spread:
    """
    Repeated measurements of one thing.

    Attributes:
        low: lower quartile.
        median: what is reported.
        high: upper quartile.

    """

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method='inclusive')
        return cls(low, median, high)

    def flat(self, name: str) -> dict[str, float]:
        """Return the median as `name` and the quartiles as `name_low` and `name_high`."""
        return {name: self.median, f'{name}_low': self.low, f'{name}_high': self.high}


def interleave(contestants: Mapping[str, Callable[[int], Sequence[float]]], rounds: int,
               ) -> dict[str, list[list[float]]]:
    """
    Let contestants take turns.

    Args:
        contestants: name -> function of the round's number that returns what it measured, in
            seconds.
        rounds: turns of each.

    Returns:
        name -> one list of measurements a round.

    """
    measured: dict[str, list[list[float]]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, run in contestants.items():
            measured[name].append(list(run(number)))
    return measured


def times_faster(slow: Sequence[Sequence[float]], fast: Sequence[Sequence[float]]) -> Spread:
    """
    Compare two contestants round by round.

    Args:
        slow: seconds of the one that should take longer, a list a round.
        fast: seconds of the other, in the same rounds.

    Returns:
        the ratio of the medians of all measurements, within the quartiles of the rounds' ratios.

    """
    ratios = Spread.of([statistics.median(a) / statistics.median(b)
                        for a, b in zip(slow, fast, strict=True)])
    overall = median_of(slow) / median_of(fast)
    return Spread(min(ratios.low, overall), overall, max(ratios.high, overall))


def rates(rounds: Sequence[Sequence[float]]) -> Spread:
    """
    Turn seconds into rates.

    Args:
        rounds: seconds of single frames, a list a round.

    Returns:
        frames a second: of the median of all measurements, within the quartiles of the rounds'.

    """
    spread = Spread.of([1 / statistics.median(values) for values in rounds])
    overall = 1 / median_of(rounds)
    return Spread(min(spread.low, overall), overall, max(spread.high, overall))


def median_of(rounds: Sequence[Sequence[float]]) -> float:
    """Median of all measurements of all rounds."""
    return statistics.median(value for values in rounds for value in values)


def memory_mib(field: str) -> float | None:
    """
    Read the memory of this process.

    Args:
        field: 'VmRSS' for what it holds now, 'VmHWM' for the most it ever held. (The peak that
            getrusage gives is that of the process before it became this program, too.)

    Returns:
        MiB, or None on a system that does not say.

    """
    try:
        lines = _STATUS.read_text(encoding='utf-8').splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc, in bytes."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in (
        'arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks', 'uordblks',
        'fordblks', 'keepcost'))


def heap_in_use_mib() -> float | None:
    """
    Ask how much memory is allocated and not freed.

    That leaves out what the C library holds free for later, which comes and goes by chance.

    Returns:
        MiB, or None where the C library is not glibc 2.33 or newer.

    """
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return None
    ask.restype = _Mallinfo2
    said = ask()
    return float(said.uordblks + said.hblkhd) / 2 ** 20


def available_mib() -> float | None:
    """Return the memory that this machine can still give, or None if it does not say."""
    try:
        lines = Path('/proc/meminfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith('MemAvailable'))


def run_apart(function: Callable[..., Any], threads: int, **arguments: object) -> Any:
    """
    Call a function in a fresh process.

    Args:
        function: importable by its name; arguments and result must survive JSON.
        threads: that torch may use there.
        arguments: of the function.

    Raises:
        UserError: the function raised it, or its process died, as for want of memory.

    """
    task = json.dumps({'module': function.__module__, 'name': function.__qualname__,
                       'threads': threads, 'arguments': arguments})
    finished = subprocess.run([sys.executable, '-m', __name__, task], text=True,
                              capture_output=True, check=False)
    answer = finished.stdout.splitlines()
    if finished.returncode or not answer:
        reason = (finished.stderr.strip().splitlines() or [f'exit code {finished.returncode}'])[-1]
        raise UserError(f'measuring {function.__qualname__} failed: {reason}; close other '
                        'programs or choose a smaller --size')
    result = json.loads(answer[-1])
    if 'error' in result:
        raise UserError(result['error'])
    return result['value']


def _serve(task: dict[str, Any]) -> None:
    """Do in this process what `run_apart` asked for and print the answer."""
    import torch

    torch.set_num_threads(task['threads'])
    function = getattr(importlib.import_module(task['module']), task['name'])
    try:
        answer = {'value': function(**task['arguments'])}
    except UserError as error:
        answer = {'error': str(error)}
    print(json.dumps(answer))


if __name__ == '__main__':
    _serve(json.loads(sys.argv[1]))
