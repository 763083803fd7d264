"""When a warm-up is over: after so many frames, or so many seconds by the frames' stamps."""

from __future__ import annotations

from vseg_ros.settings import WarmupLength

_LARGEST_SHARE = 0.25
"""Most of the seconds wanted that one pause between two frames counts for: one that is longer says
nothing about the scene, and there are five frames to learn from at least."""
_PATIENCE = 30
"""Frames without a stamp that rises, after which something is wrong."""


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
        self._elapsed = 0.0

    def tick(self, stamp: int) -> None:
        """Count a frame; `stamp` is in nanoseconds."""
        if self.seen:
            # stamps jump back where a video is shown again
            largest = self.settings.seconds * _LARGEST_SHARE * 1e9
            self._elapsed += min(max(stamp - self._last_stamp, 0), largest)
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
    def complaint(self) -> str:
        """Why the warm-up will not end, if so; else empty."""
        if self.settings.frames or self.seen < _PATIENCE or self._elapsed:
            return ''
        if not self.settings.seconds:
            return 'warmup.frames and warmup.seconds are 0: set one of them'
        return ('the stamps of the images do not rise, so warmup.seconds never pass: set '
                'warmup.frames, or have the camera driver stamp its images')

    @property
    def complete(self) -> bool:
        """Whether it is over."""
        return self.progress >= 1
