"""
Which frames are seen together: the last T of a stream, or T after T (Sec. 3.3, 4.2).

A pause, a step back in time or another image size begins anew: what was seen before is then of
no use.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from torch import Tensor

from vseg_ros.frame import Frame, follows
from vseg_ros.time2general.model import PixelFeatures


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """
    A frame that has been encoded.

    Attributes:
        frame: the camera image.
        pixels: its query-conditioned features, of one frame.
        fused: their fusion, float [1, d, h, w].

    """

    frame: Frame
    pixels: PixelFeatures
    fused: Tensor


class ClipWindow:
    """
    The frames in sight.

    Args:
        length: most frames T.
        max_gap: longest pause between two frames in seconds.

    """

    def __init__(self, length: int, max_gap: float) -> None:
        self._max_gap = max_gap
        self._frames: deque[SeenFrame] = deque(maxlen=length)

    @property
    def frames(self) -> list[SeenFrame]:
        """The frames in sight, oldest first."""
        return list(self._frames)

    @property
    def full(self) -> bool:
        """Whether there are as many as fit."""
        return len(self._frames) == self._frames.maxlen

    def continues(self, frame: Frame) -> bool:
        """Tell whether a frame belongs to those in sight; with none in sight any does."""
        if not self._frames:
            return True
        last = self._frames[-1].frame
        return last.size == frame.size and follows(frame.stamp, last.stamp, self._max_gap)

    def add(self, seen: SeenFrame) -> None:
        """Take a frame in; the oldest goes if there are too many."""
        self._frames.append(seen)

    def clear(self) -> list[SeenFrame]:
        """Forget all; return what there was."""
        frames = self.frames
        self._frames.clear()
        return frames
