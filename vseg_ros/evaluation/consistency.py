"""
Video consistency over dense ground truth: mVC8 and mVC16, streaming.

mVC_n looks at windows of n consecutive frames. Of the pixels whose true id is constant over the
window, it takes the share whose predicted id is constant too, right or wrong; the score is the
mean over all windows. As in the VSPW benchmark, an unlabelled pixel counts as constant like any
other id, a window without a constant pixel is left out, and a video of L frames has the L - n
windows that start at frames 0 to L - n - 1 (the one that ends at the last frame is not used).

A map is constant over the n frames that end at frame t exactly where it equalled its
predecessor n - 1 times in a row. So one saturating run-length map for the labels and one for
the predictions serve every n, and a frame costs the same whatever the window. The last window
is left out by holding each window back until the next frame arrives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vseg_ros.frame import BoolArray

IdArray = NDArray[np.unsignedinteger]


class _RunLength:
    """How often each pixel of a stream of maps has equalled its predecessor in a row."""

    def __init__(self, first: IdArray, limit: int) -> None:
        """Start at `first`; counts saturate at `limit` (at most 255)."""
        self._previous = first.copy()
        self._limit = limit
        self.repeats = np.zeros(first.shape, np.uint8)

    def add(self, current: IdArray) -> None:
        """Count one more map of the same size."""
        np.minimum(self.repeats, self._limit - 1, out=self.repeats)
        self.repeats += 1
        self.repeats *= current == self._previous
        np.copyto(self._previous, current)


def _steady_share(true: BoolArray, predicted: BoolArray) -> float:
    """Return the share of the pixels in `true` that are in `predicted` too, NaN without any."""
    pixels = np.count_nonzero(true)
    return np.count_nonzero(true & predicted) / pixels if pixels else float('nan')


class VideoConsistency:
    """
    mVC_n over the frames of any number of videos.

    Args:
        windows: window lengths n in frames, each 2..256.

    """

    def __init__(self, windows: Sequence[int] = (8, 16)) -> None:
        self._shares: dict[int, float] = dict.fromkeys(windows, 0.0)
        self._counted: dict[int, int] = dict.fromkeys(windows, 0)
        self.end_video()

    def end_video(self) -> None:
        """Let no window reach from the frames so far into those to come."""
        self._runs: tuple[_RunLength, _RunLength] | None = None
        self._frames = 0
        self._held_back: dict[int, float] = {}

    def add(self, predictions: IdArray, labels: IdArray) -> None:
        """
        Count the next frame of the video.

        Args:
            predictions: unsigned integer [H, W], predicted ids.
            labels: unsigned integer [H, W], true ids, unlabelled pixels included. A change of
                size starts a new video.

        Raises:
            ValueError: the two maps differ in size.

        """
        if predictions.shape != labels.shape:
            raise ValueError(f'predictions {list(predictions.shape)} and labels '
                             f'{list(labels.shape)} differ in size')
        if self._runs is None or self._runs[0].repeats.shape != labels.shape:
            self.end_video()
            limit = max(self._shares) - 1
            self._runs = _RunLength(labels, limit), _RunLength(predictions, limit)
        else:
            self._count_held_back()
            self._runs[0].add(labels)
            self._runs[1].add(predictions)
        self._frames += 1
        true, predicted = (run.repeats for run in self._runs)
        self._held_back = {n: _steady_share(true >= n - 1, predicted >= n - 1)
                           for n in self._shares if self._frames >= n}

    def score(self, window: int) -> float:
        """Return mVC_n of all videos so far, 0..1, or NaN if no video was long enough."""
        if not self._counted[window]:
            return float('nan')
        return self._shares[window] / self._counted[window]

    def _count_held_back(self) -> None:
        """Count the windows that end at the frame before, now that it is not the last."""
        for window, share in self._held_back.items():
            if not np.isnan(share):
                self._shares[window] += share
                self._counted[window] += 1
