"""The ring buffer of recent frames: what it holds, how much, and what can be asked of it."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.frame_window import FrameWindow
from vseg_ros.settings import WindowSettings

MS = 1_000_000


def frame(milliseconds: float, size: tuple[int, int] = (2, 3)) -> Frame:
    return Frame(np.zeros((*size, 3), np.uint8), round(milliseconds * MS), 'lens')


def filmed(window: FrameWindow, rate: float, seconds: float, begin: float = 1000) -> None:
    for index in range(int(rate * seconds)):
        window.append(frame(begin + index * 1000 / rate))


def stamps(window: FrameWindow, start: float = 0, stop: float = 0) -> list[float]:
    return [each.stamp / MS for each in window.select(round(start * MS), round(stop * MS))]


def test_slow_camera_keeps_every_frame_of_the_last_seconds() -> None:
    window = FrameWindow(WindowSettings(seconds=2, max_frames=64))
    filmed(window, 10, 5)
    assert stamps(window) == [1000 + 100 * index for index in range(29, 50)]
    assert window.memory == 21 * 2 * 3 * 3


@pytest.mark.parametrize(('rate', 'stride'), [(30, 2), (60, 4), (200, 16), (15, 1)])
def test_fast_camera_keeps_evenly_spaced_frames(rate: int, stride: int) -> None:
    window = FrameWindow(WindowSettings(seconds=4, max_frames=64))
    filmed(window, rate, 13)
    times = stamps(window)
    assert 32 <= len(times) <= 64
    assert times[-1] == pytest.approx(1000 + (13 * rate - 1) * 1000 / rate)
    assert times[-1] - times[0] > 4000 - 2 * stride * 1000 / rate
    gaps = [later - earlier for earlier, later in pairwise(times[:-1])]
    assert np.allclose(gaps, stride * 1000 / rate, atol=1e-5)


def test_camera_that_becomes_slow_is_kept_whole_again() -> None:
    window = FrameWindow(WindowSettings(seconds=2, max_frames=32))
    filmed(window, 100, 4)
    filmed(window, 10, 20, begin=6000)
    assert stamps(window) == [6000 + 100 * index for index in range(179, 200)]


def test_rate_is_followed_without_going_to_and_fro() -> None:
    window = FrameWindow(WindowSettings(seconds=2, max_frames=32))
    filmed(window, 100, 4)
    for index in range(200):
        window.append(frame(6000 + 50 * index))
        gaps = [later - earlier for earlier, later in pairwise(stamps(window)[:-1])
                if earlier >= 6000]
        assert gaps == sorted(gaps, reverse=True)
    assert gaps == [100] * len(gaps)
    assert len(gaps) >= 15


@pytest.mark.parametrize('most', [8, 9])
def test_thinning_when_there_is_no_room_spaces_old_and_new_alike(most: int) -> None:
    window = FrameWindow(WindowSettings(seconds=600, max_frames=most))
    for count in range(1, 300):
        window.append(frame(100 * count))
        times = stamps(window)
        assert len(times) <= most
        assert times[0] == 100
        assert times[-1] == 100 * count
        assert len({later - earlier for earlier, later in pairwise(times[:-1])}) <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=200), st.integers(1, 12),
       st.floats(0.05, 5))
def test_bounds_hold_whatever_the_camera_does(gaps: list[int], most: int, seconds: float) -> None:
    window = FrameWindow(WindowSettings(seconds=seconds, max_frames=most))
    now = 0
    for gap in gaps:
        now += gap
        window.append(frame(now))
        times = stamps(window)
        assert 1 <= len(times) == len(window) <= most
        assert times == sorted(set(times))
        assert times[-1] == now
        assert times[0] >= now - seconds * 1000 - 1


def test_selection_by_stamps() -> None:
    window = FrameWindow(WindowSettings(seconds=10))
    filmed(window, 10, 2)
    assert stamps(window, 1200, 1400) == [1200, 1300, 1400]
    assert stamps(window, 1250, 1400) == [1300, 1400]
    assert stamps(window, stop=1100) == [1000, 1100]
    assert stamps(window, start=2900) == [2900]
    assert stamps(window, 1500, 1500) == [1500]


@pytest.mark.parametrize(('start', 'stop', 'said'), [
    (900, 0, r'start is 0\.900000000 s, but images are buffered from 1\.000000000 s to '
     r'2\.900000000 s: .* 0 for the oldest'),
    (0, 3000, 'stop is 3.000000000 s, but .* 0 for the newest'),
    (0, 5, 'stop is 0.005'), (3000, 0, 'start is 3'), (3000, 4000, 'start is 3'),
    (2000, 1500, r'start \(2\.000000000 s\) is after stop \(1\.500000000 s\)'),
    (1210, 1290, r'no image is buffered between')])
def test_times_that_cannot_be_asked_about(start: int, stop: int, said: str) -> None:
    window = FrameWindow(WindowSettings(seconds=10))
    filmed(window, 10, 2)
    with pytest.raises(UserError, match=said):
        window.select(start * MS, stop * MS)


def test_nothing_to_ask_about() -> None:
    window = FrameWindow(WindowSettings())
    with pytest.raises(UserError, match='there is no image yet'):
        window.select()
    window.append(frame(5))
    window.clear()
    with pytest.raises(UserError, match='there is no image yet'):
        window.select()


def test_frame_with_the_stamp_of_the_one_before() -> None:
    window = FrameWindow(WindowSettings())
    window.append(frame(5))
    with pytest.raises(UserError, match='two images in a row'):
        window.append(frame(5))
    assert len(window) == 1


def test_another_size_or_an_older_frame_begins_anew() -> None:
    window = FrameWindow(WindowSettings())
    filmed(window, 10, 1)
    window.append(frame(500))
    assert stamps(window) == [500]
    window.append(frame(600, (4, 4)))
    assert stamps(window) == [600]


def test_what_was_selected_stays_while_others_append() -> None:
    window = FrameWindow(WindowSettings(seconds=1, max_frames=8))
    filmed(window, 10, 1)
    chosen = window.select()
    before = [each.stamp for each in chosen]
    writer = threading.Thread(target=filmed, args=(window, 1000, 3, 5000))
    writer.start()
    while writer.is_alive():
        times = [each.stamp for each in window.select()]
        assert times == sorted(set(times))
        assert 1 <= len(times) <= 8
    writer.join()
    assert [each.stamp for each in chosen] == before
