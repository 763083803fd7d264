"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def nothing_left(tmp_path: Path) -> Callable[..., None]:
    """Check that `tmp_path` holds these names and no temporary beside them."""
    def check(*names: str) -> None:
        assert sorted(os.listdir(tmp_path)) == sorted(names)
    return check
