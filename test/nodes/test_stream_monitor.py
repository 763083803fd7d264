"""Rates, latency and losses of a stream of images."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable

import pytest

from vseg_ros.nodes.stream_monitor import LossDetector, StreamMonitor

SECOND = 1_000_000_000
PERIOD = SECOND // 24
START = 1_700_000_000 * SECOND


def lost(stamps: Iterable[int]) -> int:
    """Count what a detector finds missing between stamps."""
    detector = LossDetector()
    return sum(detector.lost_before(stamp) for stamp in stamps)


def steady(count: int, period: int = PERIOD, start: int = START, jitter: float = 0.0,
           seed: int = 0) -> list[int]:
    """Make the stamps of a regular camera; `jitter` is the standard deviation in periods."""
    noise = random.Random(seed)
    return [start + index * period + round(noise.gauss(0, jitter) * period)
            for index in range(count)]


@pytest.mark.parametrize('rate', [1, 5, 24, 29.97, 200])
def test_a_steady_camera_loses_nothing(rate: float) -> None:
    assert lost(steady(1000, round(SECOND / rate))) == 0


@pytest.mark.parametrize('jitter', [0.02, 0.1, 0.15])
@pytest.mark.parametrize('seed', range(5))
def test_jitter_of_the_stamps_is_no_loss(jitter: float, seed: int) -> None:
    assert lost(steady(1000, jitter=jitter, seed=seed)) <= 2


def test_one_lost_image_is_found() -> None:
    stamps = steady(100)
    del stamps[50]
    assert lost(stamps) == 1


@pytest.mark.parametrize('missing', [2, 5, 20])
def test_the_length_of_a_gap_counts(missing: int) -> None:
    stamps = steady(100)
    del stamps[50:50 + missing]
    assert lost(stamps) == missing


@pytest.mark.parametrize('share', [0.05, 0.3, 0.6, 0.8])
@pytest.mark.parametrize('seed', range(5))
def test_random_losses_are_counted(share: float, seed: int) -> None:
    noise = random.Random(seed)
    sent = steady(2000, jitter=0.01, seed=seed)
    received = [stamp for stamp in sent if noise.random() > share]
    missing = len(sent) - len(received)
    assert 0.75 * missing <= lost(received) <= missing


def test_a_camera_that_stops_and_comes_back_lost_nothing() -> None:
    again = steady(100, start=START + 60 * SECOND)
    assert lost(steady(100) + again) == 0


def test_a_bag_that_starts_over_lost_nothing() -> None:
    assert lost(steady(100) * 3) == 0


def test_losses_are_found_after_a_bag_started_over() -> None:
    stamps = steady(100)
    del stamps[50]
    assert lost(stamps * 3) == 3


@pytest.mark.parametrize(('before', 'after'), [(30, 15), (30, 5), (15, 30), (24, 200), (200, 10)])
def test_another_rate_is_no_loss(before: int, after: int) -> None:
    first = steady(200, SECOND // before)
    assert lost(first + steady(200, SECOND // after, first[-1] + SECOND // after)) == 0


def test_losses_are_found_at_the_new_rate() -> None:
    first = steady(200, SECOND // 30)
    then = steady(200, SECOND // 10, first[-1] + SECOND // 10)
    del then[100:103]
    assert lost(first + then) == 3


@pytest.mark.parametrize('seed', range(5))
def test_a_camera_without_a_period_lost_nothing_to_speak_of(seed: int) -> None:
    noise = random.Random(seed)
    stamps = [START]
    for _ in range(1000):
        stamps.append(stamps[-1] + round(noise.expovariate(24) * SECOND))
    assert lost(stamps) <= 5


def test_an_unstamped_camera_lost_nothing() -> None:
    assert lost([0] * 100) == 0


def fed(rate: float, seconds: float) -> tuple[StreamMonitor, int]:
    """Feed a stream that is answered after 50 ms; return the time of the last image, too."""
    monitor, now = StreamMonitor(), 0
    for index in range(round(rate * seconds)):
        now = round(index * SECOND / rate)
        monitor.received(START + now, now)
        monitor.answered(now, now + SECOND // 20)
    return monitor, now


@pytest.mark.parametrize('rate', [0.5, 5, 24, 200])
def test_rates_and_latency(rate: float) -> None:
    monitor, now = fed(rate, 20)
    report = monitor.report(now + SECOND // 20)
    assert report.frames_in == report.frames_out == 20 * rate
    assert report.input_rate == pytest.approx(rate, rel=0.01, abs=0.02)
    assert report.output_rate == pytest.approx(rate, rel=0.01, abs=0.02)
    assert (report.latency_mean, report.latency_max) == pytest.approx((0.05, 0.05))
    assert report.seconds_since_image == pytest.approx(0.05)


def test_rates_fall_when_the_camera_stops() -> None:
    monitor, now = fed(24, 10)
    rates = [monitor.report(now + round(seconds * SECOND)).input_rate
             for seconds in (0.0, 0.5, 1.0, 3.0, 6.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[1] < 24
    assert rates[-1] == 0
    assert monitor.report(now + 6 * SECOND).latency_max == 0
    assert monitor.report(now + 7 * SECOND).seconds_since_image == 7


def test_the_longest_latency_leaves_with_its_window() -> None:
    monitor = StreamMonitor()
    monitor.answered(0, SECOND)
    monitor.answered(4 * SECOND, 4 * SECOND + SECOND // 10)
    assert monitor.report(5 * SECOND).latency_max == 1
    assert monitor.report(5 * SECOND).latency_mean == pytest.approx(0.55)
    assert monitor.report(7 * SECOND).latency_max == pytest.approx(0.1)


def test_nothing_has_come_yet() -> None:
    monitor = StreamMonitor()
    assert monitor.report(100 * SECOND).seconds_since_image == 0
    report = monitor.report(107 * SECOND)
    assert report.seconds_since_image == 7
    assert (report.frames_in, report.input_rate, report.latency_mean) == (0, 0, 0)


def test_drops_and_losses_are_counted() -> None:
    monitor = StreamMonitor()
    for index in [*range(20), *range(23, 30)]:
        monitor.received(START + index * PERIOD, index * PERIOD)
    monitor.dropped()
    monitor.dropped()
    report = monitor.report(30 * PERIOD)
    assert (report.frames_in, report.frames_dropped, report.frames_lost) == (27, 2, 3)
    assert report.lately_lost == 3
    assert monitor.report(60 * SECOND).lately_lost == 0
    assert monitor.report(60 * SECOND).frames_lost == 3


def test_rejections_are_logged_now_and_then_however_many_reasons_there_are() -> None:
    monitor = StreamMonitor()
    due = [monitor.rejected(f'{index} bytes', index * SECOND // 10) for index in range(101)]
    assert [index for index, log in enumerate(due) if log] == [0, 50, 100]
    assert monitor.report(10 * SECOND).frames_rejected == 101


def test_the_reason_is_reported_until_a_good_image_comes() -> None:
    monitor = StreamMonitor()
    monitor.received(START, 0)
    monitor.rejected('odd', 0)
    assert monitor.report(1).last_rejection == 'odd'
    monitor.received(START + 1, 2)
    assert monitor.report(3).last_rejection == ''


def test_counts_of_many_threads_add_up() -> None:
    monitor = StreamMonitor()

    def count() -> None:
        for index in range(2000):
            monitor.received(START + index, index)
            monitor.dropped()
            monitor.rejected('odd', index)
            monitor.answered(index, index)
            monitor.report(index)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = monitor.report(2000)
    assert (report.frames_in, report.frames_dropped, report.frames_rejected,
            report.frames_out) == (8000,) * 4
