"""Memory that was freed goes back to the system when that is asked for."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vseg_ros.freed_memory import give_back_freed_memory

PEAK = """
from pathlib import Path
import torch
from vseg_ros.freed_memory import give_back_freed_memory
def resident():
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith('VmRSS'))
torch.ones(4, 1 << 18)
start = resident()
# small enough for the heap, and with something still in use at its end
arrays = [torch.ones(25, 1 << 10) for _ in range(2000)]
last = torch.ones(25, 1 << 10)
del arrays
kept = resident() - start
give_back_freed_memory()
print(kept, resident() - start)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_trim') or not Path('/proc').exists(),
                    reason='the C library of this system is not glibc')
def test_a_peak_is_given_back() -> None:
    done = subprocess.run([sys.executable, '-c', PEAK], capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert kept > 150, 'glibc gives it back by itself: nothing was tested'
    assert left < 50


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_malloc_trim(name: Any) -> object:
        return object()
    monkeypatch.setattr(ctypes, 'CDLL', without_malloc_trim)
    give_back_freed_memory()
