"""
How the camera car moves along the street.

Its drive is an endless chain of segments, each with a duration and a speed at both ends; in
between, speed follows a smoothstep, so that position and speed have a closed form at any moment.
Segments are drawn one after the other from the seed, so that a longer video begins like a
shorter one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class EgoMotion:
    """
    Distance and speed of the camera car along the street.

    Args:
        rng: source of the drive.
        cruise: usual speed in metres a second.

    """

    def __init__(self, rng: np.random.Generator, cruise: float) -> None:
        self._rng = rng
        self._cruise = cruise
        self._starts = [0.0]
        self._positions = [0.0]
        self._speeds = [0.0 if rng.random() < 0.2 else cruise * rng.uniform(0.6, 1.1)]

    def _extend(self) -> None:
        """Add one segment: brake to a stop, wait, or head for another speed."""
        rng, speed = self._rng, self._speeds[-1]
        if speed == 0.0 and len(self._speeds) > 1 and self._speeds[-2] > 0.0:
            target, duration = 0.0, rng.uniform(0.5, 3.0)
        elif speed > 0.0 and rng.random() < 0.2:
            target, duration = 0.0, speed / rng.uniform(1.5, 2.5) + 0.5
        else:
            target = self._cruise * rng.uniform(0.5, 1.15)
            duration = rng.uniform(2.0, 5.0)
        self._starts.append(self._starts[-1] + duration)
        self._positions.append(self._positions[-1] + duration * (speed + target) / 2)
        self._speeds.append(target)

    def _segment(self, time: Array) -> tuple[NDArray[np.intp], Array, Array]:
        """Return each moment's segment, its duration and the elapsed share of it."""
        while self._starts[-1] <= time.max():
            self._extend()
        starts = np.array(self._starts)
        index = np.clip(np.searchsorted(starts, time, side='right') - 1, 0, len(starts) - 2)
        duration = starts[index + 1] - starts[index]
        return index, duration, (time - starts[index]) / duration

    def position(self, time: Array) -> Array:
        """Return the distance along the street, metres, at each moment in seconds."""
        index, duration, share = self._segment(np.maximum(time, 0.0))
        speeds = np.array(self._speeds)
        first, last = speeds[index], speeds[index + 1]
        driven = duration * (first * share + (last - first) * (share ** 3 - share ** 4 / 2))
        before = np.minimum(time, 0.0) * self._speeds[0]
        result: Array = np.array(self._positions)[index] + driven + before
        return result

    def speed(self, time: Array) -> Array:
        """Return the speed in metres a second at each moment in seconds."""
        index, _, share = self._segment(np.maximum(time, 0.0))
        speeds = np.array(self._speeds)
        first, last = speeds[index], speeds[index + 1]
        result: Array = first + (last - first) * (3 * share ** 2 - 2 * share ** 3)
        return result

    def time_at(self, distance: float) -> float:
        """Return about when the car gets to a distance along the street."""
        if distance <= 0.0:
            return distance / self._cruise
        while self._positions[-1] < distance:
            self._extend()
        return float(np.interp(distance, self._positions, self._starts))
