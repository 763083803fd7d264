"""
The last seconds of a camera, kept for whoever asks about them.

Memory is bounded twice: frames older than `seconds` before the newest are forgotten, and of those
that are left at most `max_frames` are kept. A camera that is too fast for that is thinned out: of
every `stride` frames one is kept. The stride doubles when there are too many (every second frame
goes, so that those before and after stand equally far apart) and halves when the camera has become
slow enough. The newest frame is there always, so that an answer is about what is seen now.

A frame of another size, or one that is older than the newest (a bag that is played in a loop),
begins a new window.
"""

from __future__ import annotations

import threading
from collections import deque

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.settings import WindowSettings

_SECOND = 1_000_000_000
# Below 1, so that a rate on the edge does not change the stride to and fro.
_ROOM_NEEDED = 0.9


class FrameWindow:
    """
    A ring buffer of frames; any thread may call any method.

    Args:
        settings: how many seconds and frames it holds.

    """

    def __init__(self, settings: WindowSettings) -> None:
        self._span = round(settings.seconds * _SECOND)
        # One place belongs to the newest frame.
        self._room = max(1, settings.max_frames - 1)
        self._max_frames = settings.max_frames
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._kept: deque[Frame] = deque()
        self._newest: Frame | None = None
        self._stride, self._passed = 1, 0

    def __len__(self) -> int:
        """Count the frames that can be asked about."""
        with self._lock:
            return len(self._frames())

    @property
    def memory(self) -> int:
        """Bytes that the pixels take."""
        with self._lock:
            return sum(frame.image.nbytes for frame in self._frames())

    def append(self, frame: Frame) -> None:
        """
        Take the next frame; the time that takes does not depend on how many there are.

        Raises:
            UserError: it has the stamp of the newest.

        """
        with self._lock:
            newest = self._newest
            if newest is not None and frame.stamp == newest.stamp:
                raise UserError(f'two images in a row have the stamp {_seconds(frame.stamp)}: the '
                                'camera must stamp each with its time')
            if newest is not None and (frame.stamp < newest.stamp or frame.size != newest.size):
                self._begin()
            self._newest = frame
            self._forget(frame.stamp - self._span)
            self._keep(frame)

    def clear(self) -> None:
        """Forget all frames."""
        with self._lock:
            self._begin()

    def select(self, start: int = 0, stop: int = 0) -> list[Frame]:
        """
        Return the frames between two times.

        Args:
            start: stamp of the first at the earliest, in ns; 0 begins with the oldest.
            stop: stamp of the last at the latest, in ns; 0 ends with the newest.

        Returns:
            frames in order of time, all of one size; at least one and at most `max_frames`.

        Raises:
            UserError: there is no frame yet, a time lies outside of what is buffered, `start` is
                after `stop`, or no frame lies between them.

        """
        with self._lock:
            frames = self._frames()
        if not frames:
            raise UserError('there is no image yet: wait until the camera sends one')
        if start and stop and start > stop:
            raise UserError(f'start ({_seconds(start)}) is after stop ({_seconds(stop)}): '
                            'exchange them')
        first, last = start or frames[0].stamp, stop or frames[-1].stamp
        _check_inside(first, last, frames)
        chosen = [frame for frame in frames if first <= frame.stamp <= last]
        if not chosen:
            raise UserError(f'no image is buffered between start ({_seconds(first)}) and stop '
                            f'({_seconds(last)}): choose them farther apart')
        return chosen

    def _frames(self) -> list[Frame]:
        frames = list(self._kept)
        if self._newest is not None and (not frames or frames[-1] is not self._newest):
            frames.append(self._newest)
        return frames[-self._max_frames:]

    def _forget(self, before: int) -> None:
        full = False
        while self._kept and self._kept[0].stamp < before:
            self._kept.popleft()
            full = True
        # Only a window that is full in time tells how many frames a stride comes to.
        if full and self._stride > 1 and 2 * len(self._kept) <= _ROOM_NEEDED * self._room:
            self._stride //= 2

    def _keep(self, frame: Frame) -> None:
        self._passed += 1
        if self._kept and self._passed < self._stride:
            return
        self._kept.append(frame)
        self._passed = 0
        if len(self._kept) > self._room:
            self._kept = deque(list(self._kept)[::2])
            self._stride *= 2
            self._passed = 0 if self._kept[-1] is frame else self._stride // 2


def _check_inside(first: int, last: int, frames: list[Frame]) -> None:
    oldest, newest = frames[0].stamp, frames[-1].stamp
    for name, time, zero in (('start', first, 'oldest'), ('stop', last, 'newest')):
        if not oldest <= time <= newest:
            raise UserError(f'{name} is {_seconds(time)}, but images are buffered from '
                            f'{_seconds(oldest)} to {_seconds(newest)}: choose a time between '
                            f'these, or 0 for the {zero}')


def _seconds(stamp: int) -> str:
    return f'{stamp // _SECOND}.{stamp % _SECOND:09d} s'
