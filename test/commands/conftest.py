"""The command line as a user calls it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Vseg = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def vseg(tmp_path: Path) -> Vseg:
    """Run `vseg` in a temporary folder; returns its exit code and output."""
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {'HF_HUB_OFFLINE': '1'}
        return subprocess.run([sys.executable, '-m', 'vseg_ros.cli', *arguments], text=True,
                              cwd=tmp_path, env=environment, capture_output=True, check=False)
    return run
