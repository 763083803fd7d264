"""
The thread that answers: questions one after the other, and between them the frames to follow.

Questions wait in a queue of bounded length, each with the frames it was asked about. Frames to
follow do not wait: the newest wins. A question goes before a frame and ends the following of the
one before; whether it is followed itself is its own wish, unless `stop_following` came meanwhile.

Nothing that a question or a frame does wrong ends the thread. Every question gets an answer, also
when the thread is stopped: then it is a UserError that says so. There is no ROS in here: the node
brings the functions that publish and that make a response of a track.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from vseg_ros.errors import UserError
from vseg_ros.failure import is_foreseen, one_line
from vseg_ros.frame import BoolArray, Frame, MaskTrack
from vseg_ros.nodes.stream_monitor import StreamMonitor
from vseg_ros.video_query import LastingFollower, VideoQuery

logger = logging.getLogger(__name__)

T = TypeVar('T')

_MEMORY_ADVICE = 'ask about fewer frames, lower window.max_frames or take a smaller model'


@dataclass(eq=False)
class _Question(Generic[T]):
    frames: Sequence[Frame]
    text: str
    follow: bool
    render: Callable[[Sequence[Frame], MaskTrack], T]
    future: Future[T] = field(default_factory=Future)


@dataclass(frozen=True)
class Shown:
    """
    What is published of one frame.

    Attributes:
        frame: the image.
        mask: bool [H, W], the object.
        question: the sentence.
        answer: the model's words, as they are at this frame.

    """

    frame: Frame
    mask: BoolArray
    question: str
    answer: str


class QueryWorker:
    """
    Answers and follows in a thread of its own.

    Args:
        query: used by this thread alone from now on.
        capacity: most questions that may wait.
        publish: called on this thread with the last frame of every answer, and with every frame
            that was followed.
        monitor: counts what becomes of the frames that are followed.
        after: called on this thread after every question and frame.

    Attributes:
        trouble: why the last question or frame failed; empty if it did not.

    """

    def __init__(self, query: VideoQuery, capacity: int, publish: Callable[[Shown], None],
                 monitor: StreamMonitor, after: Callable[[], None]) -> None:
        self.trouble = ''
        self._query = query
        self._capacity = capacity
        self._publish = publish
        self._monitor = monitor
        self._after = after
        self._changed = threading.Condition()
        self._output_lock = threading.Lock()
        # All of these only with `_changed` held.
        self._waiting: deque[_Question[Any]] = deque()
        self._current: _Question[Any] | None = None
        self._following: LastingFollower | None = None
        self._frame: tuple[Frame, int] | None = None
        self._stopping = False
        self._failures: set[type[Exception]] = set()
        self._thread = threading.Thread(target=self._run, name='queries', daemon=True)

    @property
    def following(self) -> str:
        """The question that is followed; empty if none is."""
        following = self._following
        return following.text if following else ''

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask(self, frames: Sequence[Frame], text: str, follow: bool,
            render: Callable[[Sequence[Frame], MaskTrack], T]) -> Future[T]:
        """
        Queue a question; any thread may call.

        Args:
            frames: what it is about.
            text: the sentence, as `check_question` returns it.
            follow: whether to go on with the answer in new frames.
            render: makes of frames and track what the future returns; called on the thread.

        Returns:
            what `render` returns, or UserError with what went wrong.

        Raises:
            UserError: too many questions wait already, or the thread is stopping.

        """
        question = _Question(frames, text, follow, render)
        with self._changed:
            if self._stopping:
                raise UserError('the node is shutting down')
            if len(self._waiting) >= self._capacity:
                raise UserError(f'{len(self._waiting)} queries wait already, as many as '
                                'max_queries lets: ask again when some are answered')
            self._waiting.append(question)
            self._changed.notify()
        return question.future

    def put(self, frame: Frame, received: int) -> None:
        """
        Leave a frame to follow in; it takes the place of one that still waits.

        Args:
            frame: newer than those before.
            received: when it arrived, in ns of the monotonic clock.

        """
        with self._changed:
            if self._following is None or self._stopping:
                return
            if self._frame is not None:
                self._monitor.dropped()
            self._frame = frame, received
            self._changed.notify()

    def stop_following(self) -> str:
        """Follow nothing, nor what the questions up to now wished; return what was followed."""
        with self._changed:
            text, self._following, self._frame = self.following, None, None
            for question in (*self._waiting, self._current):
                if question is not None:
                    text = text or (question.text if question.follow else '')
                    question.follow = False
            return text

    def pause(self, reason: str) -> None:
        """Answer the questions that wait with a UserError, and follow nothing."""
        self.stop_following()
        with self._changed:
            refused = list(self._waiting)
            self._waiting.clear()
        for question in refused:
            _fail(question.future, UserError(reason))

    def close(self) -> None:
        """Answer all questions, also the one at hand, with a UserError; take no more."""
        with self._changed:
            self._stopping = True
            current = self._current
            self._changed.notify()
        self.pause('the node is shutting down')
        if current is not None:
            _fail(current.future, UserError('the node is shutting down'))

    def stop(self, timeout: float) -> bool:
        """
        End the thread; nothing is published afterwards.

        Args:
            timeout: longest to wait for the question or frame under way, in seconds.

        Returns:
            False if it is still under way; the thread then ends by itself when it is done.

        """
        self.close()
        with self._output_lock:
            pass  # whoever publishes now is done; the others see that we are stopping
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting or self._frame)
                if self._stopping:
                    return
                self._current = self._waiting.popleft() if self._waiting else None
                if self._current is not None:
                    self._following = None
                question, following = self._current, self._following
                arrival, self._frame = self._frame, None
            if question is not None:
                if arrival is not None:
                    self._monitor.dropped()
                self._answer(question)
            elif following is not None and arrival is not None:
                self._follow(following, *arrival)
            self._look()

    def _answer(self, question: _Question[Any]) -> None:
        try:
            track = self._query.ask(question.frames, question.text)
            response = question.render(question.frames, track)
            last = question.frames[-1]
            self._show(Shown(last, track.masks[-1], question.text, track.text))
            following = (LastingFollower(self._query, question.text, last)
                         if question.follow else None)
            self.trouble = ''
        except Exception as error:
            following, response = None, None
            reason = self._tell(error, 'a query failed')
            if not isinstance(error, UserError):
                self.trouble = reason
                error = UserError(reason)
            with self._changed:
                self._current = None
            _fail(question.future, error)
            return
        with self._changed:
            self._current = None
            # Asked for once more: it may have been called off meanwhile.
            self._following = following if question.follow else None
        _succeed(question.future, response)

    def _follow(self, following: LastingFollower, frame: Frame, received: int) -> None:
        try:
            track = following.step(frame)
            if self._following is not following:
                return  # called off meanwhile
            self._show(Shown(frame, track.masks[-1], following.text, track.text))
            self._monitor.answered(received, time.monotonic_ns())
            self.trouble = ''
        except Exception as error:
            self.trouble = self._tell(error, 'the last image could not be followed in')
            self._monitor.rejected(self.trouble, time.monotonic_ns())

    def _show(self, shown: Shown) -> None:
        with self._output_lock:
            if not self._stopping:
                self._publish(shown)

    def _tell(self, error: Exception, what: str) -> str:
        """Return what went wrong in one line; log each kind of failure once."""
        reason = f'{what}: {one_line(error, _MEMORY_ADVICE)}'
        if type(error) not in self._failures and not isinstance(error, UserError):
            self._failures.add(type(error))
            logger.error(reason, exc_info=None if is_foreseen(error) else error)
        return reason

    def _look(self) -> None:
        if self._stopping:
            return
        try:
            self._after()
        except Exception:
            logger.exception('looking at the state after a query failed')


def _succeed(future: Future[T], result: T) -> None:
    # One that was refused while it was being answered has its outcome already.
    with suppress(InvalidStateError):
        future.set_result(result)


def _fail(future: Future[T], error: Exception) -> None:
    with suppress(InvalidStateError):
        future.set_exception(error)
