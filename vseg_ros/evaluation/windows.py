"""
What both forms of video consistency count with: run lengths of maps, and a mean over windows.

A map is constant over the n frames that end at frame t exactly where it equalled its
predecessor n - 1 times in a row. So one saturating run-length map serves windows of every
length, and a frame costs the same whatever the length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vseg_ros.frame import BoolArray

IdArray = NDArray[np.unsignedinteger]


class RunLength:
    """
    How often each pixel of a stream of maps has equalled its predecessor in a row.

    Args:
        first: unsigned integer [H, W], the map to start at.
        limit: where counts saturate, 1..255.

    """

    def __init__(self, first: IdArray, limit: int) -> None:
        self._previous = first.copy()
        self._limit = limit
        self.repeats = np.zeros(first.shape, np.uint8)

    def add(self, current: IdArray) -> None:
        """Count one more map of the same size."""
        np.minimum(self.repeats, self._limit - 1, out=self.repeats)
        self.repeats += 1
        self.repeats *= current == self._previous
        np.copyto(self._previous, current)


class WindowMean:
    """
    The mean share of the windows of each length, over any number of videos.

    Args:
        windows: window lengths n in frames.

    """

    def __init__(self, windows: Sequence[int]) -> None:
        self._shares: dict[int, float] = dict.fromkeys(windows, 0.0)
        self._counted: dict[int, int] = dict.fromkeys(windows, 0)

    def add(self, window: int, share: float) -> None:
        """Count one window of length `window`; a share of NaN, of no pixels, is left out."""
        if not np.isnan(share):
            self._shares[window] += share
            self._counted[window] += 1

    @classmethod
    def of_totals(cls, totals: Mapping[int, tuple[float, int]]) -> WindowMean:
        """Make the mean whose `totals` these are."""
        mean = cls(tuple(totals))
        for window, (shares, counted) in totals.items():
            mean._shares[window], mean._counted[window] = shares, counted
        return mean

    @property
    def totals(self) -> dict[int, tuple[float, int]]:
        """Length -> (sum of the shares, windows counted)."""
        return {window: (shares, self._counted[window])
                for window, shares in self._shares.items()}

    def include(self, other: WindowMean) -> None:
        """Count all windows that another mean of the same lengths has counted."""
        for window in self._shares:
            self._shares[window] += other._shares[window]
            self._counted[window] += other._counted[window]

    def score(self, window: int) -> float:
        """Return the mean over the windows of length `window`, 0..1, or NaN without any."""
        if not self._counted[window]:
            return float('nan')
        return self._shares[window] / self._counted[window]


def steady_share(true: BoolArray, predicted: BoolArray) -> float:
    """Return the share of the pixels in `true` that are in `predicted` too, NaN without any."""
    pixels = np.count_nonzero(true)
    return float(np.count_nonzero(true & predicted) / pixels) if pixels else float('nan')


def check_sizes(predictions: IdArray, labels: IdArray) -> None:
    """
    Refuse maps that cannot be compared.

    Raises:
        ValueError: the two maps differ in size.

    """
    if predictions.shape != labels.shape:
        raise ValueError(f'predictions {list(predictions.shape)} and labels '
                         f'{list(labels.shape)} differ in size')
