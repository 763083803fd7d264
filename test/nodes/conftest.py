"""What the tests of the nodes' parts share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope='session')
def color_query() -> ModuleType:
    """The module test/color_query.py."""
    path = Path(__file__).parents[1] / 'color_query.py'
    spec = importlib.util.spec_from_file_location('color_query', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
