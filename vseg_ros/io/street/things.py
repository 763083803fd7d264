"""
Everything with an instance id: what it is, where it goes and how it is painted.

A `Path` gives place and velocity in street coordinates at any moment, so a thing at frame `i`
never depends on the frames before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street.camera import Points
from vseg_ros.io.street.motion import EgoMotion
from vseg_ros.io.street.painter import Painter

Array = NDArray[np.float64]


Values = Array | float
State = tuple[Values, Values, Values, Values]


class Path(Protocol):
    """Where something is over time."""

    def at(self, time: Values) -> State:
        """Return x, z and the velocity along x and z at one moment or at each of many."""


@dataclass(frozen=True)
class Steady:
    """Constant speed along the street (0: fixed)."""

    x: float
    z: float
    speed: float = 0.0

    def at(self, time: Values) -> State:
        """Return x, z and velocity at one moment or at each of many."""
        zero = 0.0 * time
        return self.x + zero, self.z + self.speed * time, zero, self.speed + zero


@dataclass(frozen=True)
class Leading:
    """Drives ahead of the camera car as that will drive `delay` seconds later."""

    ego: EgoMotion
    x: float
    gap: float
    delay: float

    def at(self, time: Values) -> State:
        """Return x, z and velocity at one moment or at each of many."""
        later = np.asarray(time + self.delay)
        zero = 0.0 * time
        return self.x + zero, self.ego.position(later) + self.gap, zero, self.ego.speed(later)


@dataclass(frozen=True)
class Crossing:
    """Waits at one side of the road, crosses once, and stays on the other side."""

    start_x: float
    end_x: float
    z: float
    start: float
    speed: float

    def at(self, time: Values) -> State:
        """Return x, z and velocity at one moment or at each of many."""
        way = self.end_x - self.start_x
        share = (time - self.start) / (abs(way) / self.speed)
        moving = (share > 0) & (share < 1)
        zero = 0.0 * time
        return (self.start_x + way * np.clip(share, 0, 1), self.z + zero,
                moving * np.sign(way) * self.speed, zero)


@dataclass(frozen=True, eq=False)
class Pose:
    """
    A thing at one moment.

    Attributes:
        foot: float64 [3], world point below its middle.
        heading: direction in radians, to the right of the world's z axis.
        time: seconds.
        velocity: along x and z, metres a second.

    """

    foot: Points
    heading: float
    time: float
    velocity: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Thing:
    """
    Something with an instance id.

    Attributes:
        instance_id: 1..65535.
        label: driving id.
        kind: what it is within its class.
        color: name of its main colour.
        size: width, height, length in metres.
        path: where it is.
        paint: paints it in a pose under an entity number.
        motion: 'parked', 'fixed', 'traffic' (named by direction) or 'foot' (named by gait).
        reversed: whether it faces against the street's direction.
        order: place among things that stand together; higher is painted later.

    """

    instance_id: int
    label: int
    kind: str
    color: str
    size: tuple[float, float, float]
    path: Path
    paint: Callable[[Painter, Pose, int], None]
    motion: str
    reversed: bool = False
    order: int = 0

    def motion_name(self, velocity: tuple[float, ...], in_road: bool) -> str:
        """Name the motion at a velocity along x and z."""
        across, along = velocity
        speed = float(np.hypot(across, along))
        if self.motion == 'traffic':
            if speed < 0.3:
                return 'stopped'
            return 'oncoming' if along < 0 else 'same direction'
        if self.motion == 'foot':
            if speed < 0.1:
                return 'standing'
            return 'crossing' if abs(across) > abs(along) and in_road else 'walking'
        return self.motion
