"""The thread that decodes: frames handed on, bad images counted, nothing ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.nodes.frame_intake import FrameIntake
from vseg_ros.nodes.stream_monitor import StreamMonitor


class Line:
    """An intake whose messages are numbers: the stamp, or what is wrong."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.monitor = StreamMonitor()
        self.intake: FrameIntake[int] = FrameIntake(self.decode, self.take, self.monitor)
        self.intake.start()

    def decode(self, message: int) -> Frame:
        self.gate.wait(10)
        if message == -1:
            raise UserError('no image at all')
        if message == -2:
            raise ZeroDivisionError('what a decoder may do')
        return Frame(np.zeros((2, 2, 3), np.uint8), message)

    def take(self, frame: Frame, received: int) -> None:
        if frame.stamp == 13:
            raise UserError('thirteen is not taken')
        self.threads.add(threading.get_ident())
        self.taken.append((frame.stamp, received))

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.005)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.gate.set()
    line.intake.stop(10)


def test_frames_are_handed_on_with_their_arrival_on_another_thread(line: Line) -> None:
    before = time.monotonic_ns()
    line.intake.put(7)
    line.until(lambda: line.taken)
    ((stamp, received),) = line.taken
    assert stamp == 7
    assert before <= received <= time.monotonic_ns()
    assert threading.get_ident() not in line.threads


@pytest.mark.parametrize(('message', 'said'), [
    (-1, 'no image at all'), (-2, 'ZeroDivisionError: what'), (13, 'thirteen is not taken')])
def test_bad_image_costs_itself_alone(line: Line, message: int, said: str) -> None:
    line.intake.put(message)
    line.until(lambda: line.monitor.report(0).frames_rejected == 1)
    assert said in line.monitor.report(0).last_rejection
    line.intake.put(8)
    line.until(lambda: line.taken)
    assert line.taken[0][0] == 8


def test_newest_wins_and_putting_never_waits(line: Line) -> None:
    line.gate.clear()
    for stamp in range(1, 6):
        line.intake.put(stamp)
        time.sleep(0.02)
    line.gate.set()
    line.until(lambda: len(line.taken) == 2)
    assert [stamp for stamp, _ in line.taken] == [1, 5]
    assert line.monitor.report(0).frames_dropped == 3


def test_clearing_and_stopping(line: Line) -> None:
    line.gate.clear()
    line.intake.put(1)
    time.sleep(0.05)
    line.intake.put(2)
    line.intake.clear()
    assert line.monitor.report(0).frames_dropped == 1
    assert not line.intake.stop(0.05)
    line.gate.set()
    assert line.intake.stop(10)
    line.intake.put(3)
    assert [stamp for stamp, _ in line.taken] == [1]
