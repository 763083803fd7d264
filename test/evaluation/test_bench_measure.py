"""Turns, ratios and fresh processes of the benchmark."""

from __future__ import annotations

import os
import platform
import sys

import numpy as np
import pytest

from vseg_ros.errors import UserError
from vseg_ros.evaluation.bench import addon
from vseg_ros.evaluation.bench.measure import (
    Spread,
    heap_in_use_mib,
    interleave,
    median_of,
    memory_mib,
    rates,
    run_apart,
    times_faster,
)
from vseg_ros.weights import find_weights


def test_contestants_take_turns() -> None:
    order = []

    def contestant(name: str):
        def run(number: int) -> list[float]:
            order.append((name, number))
            return [float(number)]
        return run

    measured = interleave({'a': contestant('a'), 'b': contestant('b')}, 2)
    assert order == [('a', 0), ('b', 0), ('a', 1), ('b', 1)]
    assert measured == {'a': [[0.0], [1.0]], 'b': [[0.0], [1.0]]}


def test_a_ratio_is_that_of_the_medians_and_drift_cancels() -> None:
    slow = [[4.0, 4.0, 100.0], [8.0, 8.0, 8.0]]
    fast = [[1.0, 1.0, 1.0], [2.0, 2.0, 50.0]]
    ratio = times_faster(slow, fast)
    assert ratio.median == pytest.approx(median_of(slow) / median_of(fast))
    assert times_faster([[3.0], [30.0]], [[1.0], [10.0]]) == Spread(3.0, 3.0, 3.0)
    assert ratio.low <= ratio.median <= ratio.high


def test_rates_are_those_of_medians_within_the_rounds() -> None:
    spread = rates([[0.1, 0.1, 9.0], [0.2, 0.2, 0.2], [0.2, 0.4, 0.4]])
    assert spread.median == pytest.approx(5)
    assert spread.low == pytest.approx((2.5 + 5) / 2)
    assert spread.high == pytest.approx((5 + 10) / 2)


def test_one_value_is_its_own_spread() -> None:
    assert Spread.of([2.0]).flat('x') == {'x': 2.0, 'x_low': 2.0, 'x_high': 2.0}


@pytest.mark.skipif(sys.platform != 'linux', reason='reads memory from /proc')
def test_peak_memory_is_that_of_the_fresh_process() -> None:
    ballast = bytearray(600 << 20)
    ballast[::4096] = b'x' * len(ballast[::4096])
    run = run_apart(addon.measure, 1, name='windowed', backward=True, repeats=2, height=12,
                    width=12)
    assert len(run['seconds']) == 2
    assert run['mib'] < 200
    own = memory_mib('VmHWM')
    assert own is not None
    assert own > 600


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc tells')
@pytest.mark.parametrize('size', [1 << 10, 32 << 20])
def test_memory_in_use_is_what_is_not_freed(size: int) -> None:
    """Pieces that the heap serves, and one that the system does."""
    before = heap_in_use_mib()
    kept = [np.ones(size, np.uint8) for _ in range((32 << 20) // size)]
    during = heap_in_use_mib()
    kept.clear()
    after = heap_in_use_mib()
    assert before is not None
    assert during is not None
    assert after is not None
    assert during - before == pytest.approx(32, abs=6)
    assert after - before == pytest.approx(0, abs=3)


def test_an_error_of_the_user_comes_back_as_one_line() -> None:
    with pytest.raises(UserError, match="no weights named 'nowhere'"):
        run_apart(find_weights, 1, name='nowhere')


def test_a_process_that_dies_is_reported() -> None:
    with pytest.raises(UserError, match='measuring _exit failed: exit code 3'):
        run_apart(os._exit, 1, status=3)


def test_full_attention_is_left_out_where_memory_is_short(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addon, 'available_mib', lambda: 4096.0)
    skipped = addon.compare(1)
    assert list(skipped) == ['addon_skipped']
    assert 'needs about 10 GiB of memory, 4 GiB are free' in str(skipped['addon_skipped'])
