"""The learning rate at its corners, and where it may not go."""

from __future__ import annotations

import itertools
import math

import pytest

from vseg_ros.models.schedule import cosine_rate


def test_it_rises_linearly_then_falls_along_a_cosine() -> None:
    rates = [cosine_rate(2.0, step, 4, 12) for step in range(13)]
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates[4:] == pytest.approx([1 + math.cos(math.pi * k / 8) for k in range(9)])
    assert rates[4] == 2.0
    assert rates[8] == pytest.approx(1.0)
    assert rates[12] == pytest.approx(0.0)
    assert all(a > b for a, b in itertools.pairwise(rates[4:]))


def test_a_run_that_ends_in_its_warm_up_never_passes_the_peak() -> None:
    assert [cosine_rate(1.0, step, 4, 2) for step in range(2)] == [0.25, 0.5]
    assert cosine_rate(1.0, 4, 4, 4) == 1.0
