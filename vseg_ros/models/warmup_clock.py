"""When a warm-up is over: after so many frames, or so many seconds by the frames' stamps."""

from __future__ import annotations

from vseg_ros.settings import WarmupLength


class WarmupClock:
    """
    Counts the frames of a warm-up and the time they span.

    Args:
        settings: how long it lasts.

    Attributes:
        seen: frames counted so far.

    """

    def __init__(self, settings: WarmupLength) -> None:
        self.settings = settings
        self.seen = 0
        self._last_stamp = 0
        self._elapsed = 0

    def tick(self, stamp: int) -> None:
        """Count a frame; `stamp` is in nanoseconds."""
        if self.seen:
            # stamps jump back where a video is shown again
            self._elapsed += max(stamp - self._last_stamp, 0)
        self._last_stamp = stamp
        self.seen += 1

    @property
    def progress(self) -> float:
        """Share of the warm-up done, 0..1."""
        if not self.seen:
            return 0.0
        if self.settings.frames:
            return min(self.seen / self.settings.frames, 1.0)
        if self.settings.seconds:
            return min(self._elapsed * 1e-9 / self.settings.seconds, 1.0)
        return 0.0

    @property
    def complete(self) -> bool:
        """Whether it is over."""
        return self.progress >= 1
