"""
The thread that works: newest image -> frame -> `pipeline.step` -> outputs.

A pipeline lives on this one thread from its first frame to its last. Whatever else must be done
with it (adapt, save, take other settings) is a command: it runs here too, between two frames, and
answers through a future. Nothing that a frame or a command does wrong ends the thread. There is
no ROS in here: the node brings the functions that decode and publish.

A pipeline that answers several frames at once holds some back. They are not kept waiting for a
next one that does not come: after `patience`, or when a step failed, `pipeline.finish` answers
them, and those that it does not answer are given up and counted.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vseg_ros.errors import UserError
from vseg_ros.failure import is_foreseen, one_line
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.nodes.mailbox import Mailbox
from vseg_ros.nodes.stream_monitor import StreamMonitor
from vseg_ros.pipeline import SegmentationPipeline

logger = logging.getLogger(__name__)

M = TypeVar('M')
T = TypeVar('T')

_SECOND = 1_000_000_000
_MEMORY_ADVICE = 'lower input_size or take a smaller segmenter'

COMMAND_DELAY = 0.05
"""Longest that a command waits for the thread while no image arrives, in seconds."""


@dataclass(frozen=True)
class _Arrival(Generic[M]):
    item: M
    received: int


class Worker(Generic[M]):
    """
    Runs a pipeline in a thread of its own.

    Args:
        pipeline: used by this thread alone from now on, but for `status` and `label_set`.
        decode: makes a frame of a message; UserError if the message is bad.
        publish: called with each frame and its segmentation, on this thread.
        monitor: counts what becomes of the frames.
        after_step: called on this thread when the pipeline has taken a frame or a command.
        patience: longest that frames wait for the next, in seconds; the pipeline must be able to
            go on after `finish`. None if the pipeline answers every frame at once.

    Attributes:
        trouble: why the last frames gave no segmentation; empty when all is as it should be.

    """

    def __init__(self, pipeline: SegmentationPipeline, decode: Callable[[M], Frame],
                 publish: Callable[[Frame, Segmentation], None], monitor: StreamMonitor,
                 after_step: Callable[[], None], patience: float | None = None) -> None:
        self.trouble = ''
        self._pipeline = pipeline
        self._decode = decode
        self._publish = publish
        self._monitor = monitor
        self._after_step = after_step
        self._patience = patience
        self._mailbox: Mailbox[_Arrival[M]] = Mailbox()
        self._commands: queue.SimpleQueue[_Command[Any]] = queue.SimpleQueue()
        self._unanswered: deque[_Arrival[Frame]] = deque()
        self._failures: set[type[Exception]] = set()
        self._stopping = threading.Event()
        self._output_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name='pipeline', daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, message: M) -> None:
        """Leave a message for the thread; it takes the place of one that still waits."""
        if self._mailbox.put(_Arrival(message, time.monotonic_ns())):
            self._monitor.dropped()

    def clear(self) -> None:
        """Throw away the message that waits."""
        for _ in range(self._mailbox.clear()):
            self._monitor.dropped()

    def submit(self, action: Callable[[], T]) -> Future[T]:
        """
        Have something done between two frames.

        Args:
            action: may use the pipeline.

        Returns:
            what the action returns or raises; UserError if the thread ends before.

        """
        command = _Command(action)
        self._commands.put(command)
        # looked at after it was put: the thread may have ended in between
        if self._stopping.is_set():
            self._refuse_commands()
        return command.future

    def answer_waiting(self) -> Future[None]:
        """Have the frames that wait for others answered; return when that is done."""
        return self.submit(self._answer_waiting)

    def stop(self, timeout: float) -> bool:
        """
        End the thread; nothing is published afterwards.

        Args:
            timeout: longest to wait for the step under way, in seconds.

        Returns:
            False if it is still under way; the thread then ends by itself when it is done.

        """
        self._stopping.set()
        self._mailbox.close()
        with self._output_lock:
            pass  # whoever publishes now is done; the others see that we are stopping
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            arrival = self._mailbox.take(COMMAND_DELAY)
            self._run_commands()
            if self._stopping.is_set():
                break
            if arrival is not None:
                self._answer(arrival)
            elif self._patience_is_over():
                self._answer_waiting()
                self._look()
        try:
            self._pipeline.finish()
        except Exception:
            logger.exception('the pipeline did not end as it should')
        self._refuse_commands()

    def _run_commands(self) -> None:
        while not self._stopping.is_set() and (command := self._next_command()):
            command.run()
            self._look()

    def _refuse_commands(self) -> None:
        while command := self._next_command():
            command.refuse()

    def _next_command(self) -> _Command[Any] | None:
        with contextlib.suppress(queue.Empty):
            return self._commands.get_nowait()
        return None

    def _answer(self, arrival: _Arrival[M]) -> None:
        """Take one message through the pipeline; whatever goes wrong costs this message alone."""
        try:
            frame = self._decode(arrival.item)
        except UserError as error:
            self._reject(str(error))
            return
        except Exception as error:
            self._fail(error)
            return
        self._unanswered.append(_Arrival(frame, arrival.received))
        try:
            for segmentation in self._pipeline.step(frame):
                self._emit(segmentation)
            self.trouble = ''
        except Exception as error:
            self._forget(frame)
            self._fail(error)
            self._answer_waiting()
        self._look()

    def _patience_is_over(self) -> bool:
        if self._patience is None or not self._unanswered:
            return False
        return time.monotonic_ns() - self._unanswered[-1].received > self._patience * _SECOND

    def _answer_waiting(self) -> None:
        """Answer the frames that the pipeline holds back, and give up those it has lost."""
        if self._patience is None or not self._unanswered:
            return
        answers: list[Segmentation] = []
        try:
            answers = self._pipeline.finish()
        except Exception as error:
            self._unanswered.pop()  # it is the one that `_fail` counts
            self._fail(error)
        try:
            for segmentation in answers:
                self._emit(segmentation)
        except Exception as error:
            self._fail(error)
        while self._unanswered:
            self._give_up(self._unanswered.popleft())

    def _look(self) -> None:
        if self._stopping.is_set():
            return
        try:
            self._after_step()
        except Exception:
            logger.exception('looking at the pipeline after a step failed')

    def _emit(self, segmentation: Segmentation) -> None:
        arrival = self._frame_of(segmentation)
        with self._output_lock:
            if self._stopping.is_set():
                return
            self._publish(arrival.item, segmentation)
        self._monitor.answered(arrival.received, time.monotonic_ns())

    def _frame_of(self, segmentation: Segmentation) -> _Arrival[Frame]:
        """Find the frame that a segmentation belongs to; those before it got none."""
        while self._unanswered:
            arrival = self._unanswered.popleft()
            if arrival.item.stamp == segmentation.stamp:
                return arrival
            self._give_up(arrival)
        raise LookupError(f'no frame has the stamp {segmentation.stamp} of the segmentation')

    def _forget(self, frame: Frame) -> None:
        if self._unanswered and self._unanswered[-1].item is frame:
            self._unanswered.pop()

    def _give_up(self, arrival: _Arrival[Frame]) -> None:
        self._reject(f'no segmentation came for the image of {arrival.item.stamp / _SECOND:.3f} s')

    def _reject(self, reason: str) -> None:
        if self._monitor.rejected(reason, time.monotonic_ns()):
            logger.warning('an image was passed over: %s', reason)

    def _fail(self, error: Exception) -> None:
        """Count a frame that the pipeline could not take; tell each kind of failure once."""
        kind = type(error)
        self.trouble = f'the last image gave no segmentation: {one_line(error, _MEMORY_ADVICE)}'
        self._monitor.rejected(self.trouble, time.monotonic_ns())
        if kind in self._failures:
            return
        self._failures.add(kind)
        if is_foreseen(error):
            logger.error(self.trouble)
        else:
            logger.error(self.trouble, exc_info=error)


class _Command(Generic[T]):
    """Something to do on the worker's thread, and the future of its outcome."""

    def __init__(self, action: Callable[[], T]) -> None:
        self.future: Future[T] = Future()
        self._action = action

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self._action())
        except Exception as error:
            self.future.set_exception(error)

    def refuse(self) -> None:
        self.future.set_exception(UserError('the node is stopping'))
