"""Memory that was freed is kept for the next frame, and given back when that is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vseg_ros import freed_memory

STATUS = Path('/proc/self/status')
SETTINGS = ('GLIBC_TUNABLES', 'MALLOC_MMAP_MAX_', 'MALLOC_MMAP_THRESHOLD_',
            'MALLOC_TRIM_THRESHOLD_', 'MALLOC_TOP_PAD_')

pytestmark = pytest.mark.skipif(
    freed_memory._libc_function('malloc_trim') is None or not STATUS.exists(),
    reason='the C library of this system is not glibc')

FRAMES = """
import resource, sys
import vseg_ros
import torch
def frames(count):
    # as a large network does: arrays of many sizes, some of them beyond 32 MiB, freed at once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        kept = [torch.ones(mebibytes, 1 << 18) for mebibytes in (3, 40, 17)]
        del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
frames(30)
print(frames(10))
"""

PEAK = """
from pathlib import Path
import vseg_ros
import torch
from vseg_ros.freed_memory import give_back_freed_memory
def resident():
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith('VmRSS'))
torch.ones(4, 1 << 18)
start = resident()
arrays = [torch.ones(10, 1 << 18) for _ in range(20)]
last = torch.ones(1, 1 << 18)  # keeps the end of the heap in use
del arrays
kept = resident() - start
give_back_freed_memory()
print(kept, resident() - start)
"""


def output_of(program: str, **variables: str) -> list[int]:
    """Return the numbers that a program prints, run in a fresh process."""
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True,
                          env=environment | variables, check=True)
    return [int(word) for word in done.stdout.split()]


def test_a_frame_gets_the_memory_of_the_one_before() -> None:
    (faults,) = output_of(FRAMES)
    # ten frames have 150,000 pages of 4 KiB; what the interpreter itself touches is a handful
    assert faults < 1500


def test_settings_of_the_user_stand() -> None:
    (faults,) = output_of(FRAMES, MALLOC_TRIM_THRESHOLD_='131072')
    assert faults > 15_000
    (faults,) = output_of(FRAMES, GLIBC_TUNABLES='glibc.malloc.mmap_threshold=131072')
    assert faults > 15_000


def test_a_peak_is_given_back() -> None:
    kept, left = output_of(PEAK)
    assert kept > 150
    assert left < 50


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freed_memory, '_libc_function', lambda name: None)
    assert not freed_memory.keep_freed_memory()
    freed_memory.give_back_freed_memory()
