"""
A mailbox for one item, in which the newest wins: from a camera's callback to a worker thread.

A model that is slower than the camera must not let frames queue up: each would be answered later
than the one before. Here a new frame takes the place of one that nobody has taken yet.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar('T')


class Mailbox(Generic[T]):
    """Holds at most one item; any thread may call any method."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """
        Leave an item; after `close` it is ignored.

        Args:
            item: anything but None.

        Returns:
            True if an item that nobody had taken was replaced.

        """
        with self._changed:
            if self._closed:
                return False
            replaced = self._item is not None
            self._item = item
            self._changed.notify()
            return replaced

    def take(self, timeout: float) -> T | None:
        """
        Wait for an item and take it out.

        Args:
            timeout: seconds to wait at most.

        Returns:
            the item, or None if none came in time or the mailbox is closed.

        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._item is not None, timeout)
            item, self._item = self._item, None
            return item

    def clear(self) -> int:
        """Throw away what waits; return how many items that were, 0 or 1."""
        with self._changed:
            waiting = int(self._item is not None)
            self._item = None
            return waiting

    def close(self) -> None:
        """Throw away what waits, wake who waits and take no more items."""
        with self._changed:
            self._closed = True
            self._item = None
            self._changed.notify_all()
