"""How threads wait is settled as soon as the package is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def spin_count(**variables: str) -> str:
    """Return what OpenMP says it took, in a fresh process."""
    environment = {name: value for name, value in os.environ.items() if name != 'GOMP_SPINCOUNT'}
    done = subprocess.run(
        [sys.executable, '-c', 'import vseg_ros, torch'], capture_output=True, text=True,
        env=environment | {'OMP_DISPLAY_ENV': 'VERBOSE'} | variables, check=True)
    line = next((line for line in done.stderr.splitlines() if 'GOMP_SPINCOUNT' in line), '')
    if not line:
        pytest.skip('this torch has another OpenMP than libgomp')
    return line.split('=')[1].strip(" '")


def test_threads_soon_sleep_unless_the_user_wants_it_otherwise() -> None:
    assert spin_count() == '1000'
    assert spin_count(GOMP_SPINCOUNT='77') == '77'
