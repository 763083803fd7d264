"""The machine in words, for reports."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def _processor() -> str:
    """Return the processor's name; Python itself knows it on few systems."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    named = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(named, '') or platform.processor() or platform.machine()


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine() -> str:
    """Return processor, cores, GPU, system and the versions that matter for speed."""
    import torch

    cores = _cores()
    parts = [f'{_processor()}, {cores} {"core" if cores == 1 else "cores"}']
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    parts += [f'{platform.system()} {platform.machine()}', f'Python {platform.python_version()}',
              f'PyTorch {torch.__version__}']
    return ' · '.join(parts)
