"""
The thread that decodes: newest image -> frame -> whoever takes it.

The camera's callback must return at once, and decoding a JPEG or a Bayer mosaic takes a while.
There is no ROS in here: the node brings the function that decodes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.nodes.mailbox import Mailbox
from vseg_ros.nodes.stream_monitor import StreamMonitor

logger = logging.getLogger(__name__)

M = TypeVar('M')

_WAIT = 0.2
"""Time between two looks at whether to end, in seconds; closing the mailbox wakes it anyway."""


class FrameIntake(Generic[M]):
    """
    Decodes images in a thread of its own; a bad one is counted, logged now and then, and dropped.

    Args:
        decode: makes a frame of a message; UserError if the message is bad.
        take: called on this thread with each frame and when it arrived, in ns of the monotonic
            clock; UserError if the frame cannot be used.
        monitor: counts what becomes of the images.

    """

    def __init__(self, decode: Callable[[M], Frame], take: Callable[[Frame, int], None],
                 monitor: StreamMonitor) -> None:
        self._decode = decode
        self._take = take
        self._monitor = monitor
        self._mailbox: Mailbox[tuple[M, int]] = Mailbox()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='intake', daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, message: M) -> None:
        """Leave a message for the thread; it takes the place of one that still waits."""
        if self._mailbox.put((message, time.monotonic_ns())):
            self._monitor.dropped()

    def clear(self) -> None:
        """Throw away the message that waits."""
        for _ in range(self._mailbox.clear()):
            self._monitor.dropped()

    def stop(self, timeout: float) -> bool:
        """
        End the thread.

        Args:
            timeout: longest to wait for the image under way, in seconds.

        Returns:
            False if it is still under way; the thread then ends by itself.

        """
        self._stopping.set()
        self._mailbox.close()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            arrival = self._mailbox.take(_WAIT)
            if arrival is None:
                continue
            try:
                self._take(self._decode(arrival[0]), arrival[1])
            except UserError as error:
                self._reject(str(error))
            except Exception as error:
                self._reject(f'{type(error).__name__}: {error}')

    def _reject(self, reason: str) -> None:
        if self._monitor.rejected(reason, time.monotonic_ns()):
            logger.warning('an image was passed over: %s', reason)
