"""When a warm-up is over."""

from __future__ import annotations

import pytest

from vseg_ros.models.warmup_clock import WarmupClock
from vseg_ros.settings import WarmupLength


def test_frames_go_before_seconds() -> None:
    clock = WarmupClock(WarmupLength(frames=4, seconds=100))
    shares = []
    for index in range(5):
        clock.tick(index * 1_000_000)
        shares.append((clock.progress, clock.complete))
    assert shares == [(0.25, False), (0.5, False), (0.75, False), (1, True), (1, True)]


def test_seconds_are_those_of_the_stamps_and_never_run_backward() -> None:
    clock = WarmupClock(WarmupLength(seconds=0.5))
    for stamp, progress in ((5_000_000_000, 0), (5_100_000_000, 0.2), (4_000_000_000, 0.2),
                            (4_100_000_000, 0.4), (4_200_000_000, 0.6), (4_300_000_000, 0.8),
                            (4_400_000_000, 1.0)):
        assert not clock.complete
        clock.tick(stamp)
        assert abs(clock.progress - progress) < 1e-9
    assert clock.complete


def test_a_pause_does_not_pass_for_a_warmup() -> None:
    clock = WarmupClock(WarmupLength(seconds=2))
    for stamp, progress in ((0, 0), (3_600_000_000_000, 0.25), (3_600_500_000_000, 0.5),
                            (7_200_000_000_000, 0.75), (7_201_000_000_000, 1.0)):
        clock.tick(stamp)
        assert abs(clock.progress - progress) < 1e-9


def test_nothing_seen_and_nothing_set() -> None:
    assert WarmupClock(WarmupLength(frames=1)).progress == 0
    clock = WarmupClock(WarmupLength(seconds=0))
    clock.tick(0)
    clock.tick(10**12)
    assert not clock.complete


@pytest.mark.parametrize(('length', 'step', 'expected'), [
    (WarmupLength(seconds=1), 0, 'do not rise'), (WarmupLength(seconds=0), 10**8, 'set one'),
    (WarmupLength(seconds=1000), 10**8, ''), (WarmupLength(frames=1000), 0, '')])
def test_a_warmup_that_cannot_end_says_why(length: WarmupLength, step: int,
                                           expected: str) -> None:
    clock = WarmupClock(length)
    for index in range(40):
        assert not clock.complaint or index >= 30
        clock.tick(index * step)
    assert expected in clock.complaint
    assert bool(clock.complaint) == bool(expected)
