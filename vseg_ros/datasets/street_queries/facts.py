"""
What is known of every thing over one clip of the synthetic street.

`clip_facts` turns the attributes of each frame into one `ThingFacts` a thing: what never changes
of it, and how place, distance, speed and visible area run over the frames in which it is seen.
Shares of the picture stand for pixels, so that nothing depends on the picture's size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street import InstanceAttributes
from vseg_ros.labels import DRIVING

Array = NDArray[np.float64]
MIN_AREA = 0.0012
"""Share of the picture from which a thing may be asked for."""
FLOOR_AREA = 0.0003
"""Share of the picture from which a thing counts as one that a sentence could mean."""
_POLE = DRIVING.names.index('pole')
_FINE = 3.0  # times the smallest area at which a hatchback can be told from an estate


@dataclass(frozen=True, eq=False)
class ThingFacts:
    """
    One thing over the V frames of a clip in which it is visible.

    Attributes:
        instance_id: its id.
        label: driving id of its class.
        kind: what it is within its class.
        color: name of its main colour, '' where colour means nothing.
        size: width, height and length in metres.
        frames: int64 [V], places in the clip of the frames in which it is visible, rising.
        times: float64 [V], seconds.
        area: float64 [V], visible share of the picture.
        center: float64 [V], column of its box's middle, 0 (left edge) to 1 (right edge).
        distance: float64 [V], metres from the camera along its view.
        lateral: float64 [V], metres to the right of the camera's view.
        speed: float64 [V], metres a second over ground.
        lateral_speed: float64 [V], metres a second over ground to the right, across the street.
        motions: V names of motions.
        referable: whether it is seen well enough to be asked for.
        fine: whether it is seen so well that its kind can be told from a similar one.

    """

    instance_id: int
    label: int
    kind: str
    color: str
    size: tuple[float, float, float]
    frames: NDArray[np.int64]
    times: Array
    area: Array
    center: Array
    distance: Array
    lateral: Array
    speed: Array
    lateral_speed: Array
    motions: tuple[str, ...]
    referable: bool
    fine: bool

    @property
    def first(self) -> int:
        """Place in the clip of the first frame in which it is visible."""
        return int(self.frames[0])

    @property
    def last(self) -> int:
        """Place in the clip of the last frame in which it is visible."""
        return int(self.frames[-1])

    @property
    def peak(self) -> float:
        """Largest visible share of the picture."""
        return float(self.area.max())

    @property
    def closing(self) -> float | None:
        """Metres a second by which its distance shrinks; None if it is seen only once."""
        if len(self.frames) < 2:
            return None
        return float((self.distance[0] - self.distance[-1]) / (self.times[-1] - self.times[0]))

    @property
    def near_end(self) -> Array:
        """Metres from the camera to its near end, float64 [V], at least 0.5."""
        end: Array = np.maximum(0.5, self.distance - self.size[2] / 2)
        return end

    @cached_property
    def motion(self) -> str:
        """Its motion in most frames; of several, the one that comes first."""
        return Counter(self.motions).most_common(1)[0][0]

    @property
    def side(self) -> str:
        """Side of the picture in its last frame: 'left', 'ahead' (the middle fifth), 'right'."""
        place = float(self.center[-1])
        return 'left' if place < 0.4 else 'right' if place > 0.6 else 'ahead'


@dataclass(frozen=True, eq=False)
class ClipFacts:
    """
    Everything that is known of a clip.

    Attributes:
        things: every thing but posts with a visible pixel in some frame, by instance id.
        times: float64 [T], seconds.
        camera_speed: metres a second of the camera car, read off what stands; None if nothing
            does.
        floor: share of the picture from which a thing counts in a sentence's truth.
        dark: whether it is too dark for colours.

    """

    things: tuple[ThingFacts, ...]
    times: Array
    camera_speed: float | None
    floor: float
    dark: bool = False

    @cached_property
    def visible(self) -> NDArray[np.bool_]:
        """Tell which things count in a sentence's truth, bool [N]."""
        return np.array([thing.peak >= self.floor for thing in self.things], dtype=np.bool_)

    @cached_property
    def referable(self) -> NDArray[np.bool_]:
        """Tell which things are seen well enough to be asked for, bool [N]."""
        return np.array([thing.referable for thing in self.things], dtype=np.bool_)

    def along(self, thing: ThingFacts) -> float | None:
        """Metres a second of a thing over ground away from the camera; None if unknown."""
        if thing.closing is None or self.camera_speed is None:
            return None
        return self.camera_speed - thing.closing

    @cached_property
    def crossing(self) -> float | None:
        """Metres to the nearest crossing with traffic lights in the last frame, None if none."""
        last = len(self.times) - 1
        found = [float(thing.distance[-1]) for thing in self.things
                 if thing.kind == 'traffic light' and thing.last == last
                 and thing.peak >= self.floor]
        return min(found) if found else None


def clip_facts(attributes: Sequence[tuple[InstanceAttributes, ...]], times: Sequence[float],
               size: tuple[int, int], min_area: float = MIN_AREA,
               floor_area: float = FLOOR_AREA, dark: bool = False) -> ClipFacts:
    """
    Gather what is known of every thing over a clip.

    Args:
        attributes: the attributes of each of T frames, T >= 2 (as `StreetFrame.attributes`).
        times: T times in seconds, rising.
        size: height and width of the picture in pixels.
        min_area: share of the picture that a thing must fill in at least half of the frames in
            which it is visible (and it must be visible in two) to be asked for.
        floor_area: share of the picture from which a thing counts as one that a sentence could
            mean.
        dark: whether it is too dark for colours (at night): then nothing is found by its
            colour, and no answer names one.

    Raises:
        ValueError: fewer than two frames, or times that do not rise or do not fit.

    """
    if len(attributes) < 2 or len(times) != len(attributes):
        raise ValueError(f'{len(attributes)} frames and {len(times)} times: give as many, and '
                         'at least two')
    moments = np.asarray(times, dtype=np.float64)
    if not (np.diff(moments) > 0).all():
        raise ValueError('the times of the frames must rise')
    seen: dict[int, list[tuple[int, InstanceAttributes]]] = {}
    for frame, known in enumerate(attributes):
        for one in known:
            seen.setdefault(one.instance_id, []).append((frame, one))
    things = [_thing(seen[instance], moments, size, min_area) for instance in sorted(seen)]
    return ClipFacts(tuple(thing for thing in things if thing.label != _POLE), moments,
                     _camera_speed(things), floor_area, dark)


def _camera_speed(things: Sequence[ThingFacts]) -> float | None:
    """Read the camera's speed off what stands."""
    speeds = [thing.closing for thing in things
              if thing.closing is not None and thing.speed.max() < 0.1]
    return float(np.median(speeds)) if speeds else None


def _thing(seen: list[tuple[int, InstanceAttributes]], times: Array, size: tuple[int, int],
           min_area: float) -> ThingFacts:
    """Gather what is known of one thing."""
    frames = np.array([frame for frame, _ in seen], dtype=np.int64)
    known = [one for _, one in seen]
    area = np.array([one.area for one in known]) / (size[0] * size[1])
    return ThingFacts(
        instance_id=known[0].instance_id, label=known[0].label, kind=known[0].kind,
        color=known[0].color, size=known[0].size, frames=frames, times=times[frames], area=area,
        center=np.array([(one.box[0] + one.box[2]) / 2 for one in known]) / size[1],
        distance=np.array([one.distance for one in known]),
        lateral=np.array([one.lateral for one in known]),
        speed=np.array([one.speed for one in known]),
        lateral_speed=np.array([one.lateral_speed for one in known]),
        motions=tuple(one.motion for one in known),
        referable=len(known) >= 2 and _mostly(area >= min_area),
        fine=len(known) >= 2 and _mostly(area >= _FINE * min_area))


def _mostly(holds: NDArray[np.bool_]) -> bool:
    """Tell whether something holds in at least half of the frames."""
    return bool(2 * holds.sum() >= len(holds))
