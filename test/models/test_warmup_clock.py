"""When a warm-up is over."""

from __future__ import annotations

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
                            (4_200_000_000, 0.6), (4_400_000_000, 1.0)):
        clock.tick(stamp)
        assert abs(clock.progress - progress) < 1e-9
    assert clock.complete


def test_nothing_seen_and_nothing_set() -> None:
    assert WarmupClock(WarmupLength(frames=1)).progress == 0
    clock = WarmupClock(WarmupLength(seconds=0))
    clock.tick(0)
    clock.tick(10**12)
    assert not clock.complete
