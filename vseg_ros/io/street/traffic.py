"""
Everything that moves: lanes of cars, cyclists and people, as endless rows of slots.

All slots of a row move at the row's speed, so they never run into each other; slot `k` is drawn
from a random stream of its own, so that any moment can be painted without the moments before.
The cars ahead in the camera's own lane repeat its drive a little earlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from vseg_ros.io.street.actors import cyclist, person, vehicle
from vseg_ros.io.street.layout import PARKING, Layout, stream
from vseg_ros.io.street.motion import EgoMotion
from vseg_ros.io.street.things import Leading, Steady, Thing

_ROWS = 32  # rows of slots that have ids of their own


@dataclass(frozen=True)
class Row:
    """
    Things that move at one speed.

    Attributes:
        number: of the row, below 15.
        kind: 'vehicle', 'cyclist' or 'person'.
        x: where it runs.
        width: how far its things may stand off `x`.
        speed: metres a second along z, negative for oncoming.
        spacing: metres from slot to slot.
        odds: share of slots that are taken.

    """

    number: int
    kind: str
    x: float
    width: float
    speed: float
    spacing: float
    odds: float


def _instance(slot: int, row: int) -> int:
    """Return the instance id of a slot; ids of moving things begin at 32001."""
    folded = 2 * slot if slot >= 0 else -2 * slot - 1
    return 32001 + (folded * _ROWS + row) % (1031 * _ROWS)


class Traffic:
    """
    The moving things of one street.

    Args:
        layout: the street's plan.
        ego: the camera car's drive.
        cruise: the camera car's usual speed.

    """

    def __init__(self, layout: Layout, ego: EgoMotion, cruise: float) -> None:
        self._layout = layout
        self._cache: dict[tuple[int, int], list[Thing]] = {}
        rng = stream(layout.seed, 5)
        traits, keep, lane = layout.traits, layout.keep, layout.lane
        oncoming = -rng.uniform(0.6, 1.1) * cruise
        rows: list[tuple[str, float, float, float, float, float]] = []
        for index in range(layout.lanes):
            x = lane * (index + 0.5)
            rows.append(('vehicle', -keep * x, 0.15, oncoming * (1 + 0.1 * index), 22.0,
                         0.1 + 0.6 * traits['traffic']))
            if abs(keep * x - layout.ego_x) > 1:
                rows.append(('vehicle', keep * x, 0.15, cruise * rng.uniform(0.75, 1.2), 22.0,
                             0.1 + 0.55 * traits['traffic']))
        for side in (-1, 1):
            parks = layout.parking[(side + 1) // 2]
            x = side * (layout.kerb(side) - (PARKING + 0.35 if parks else 0.55))
            with_traffic = 1 if side == keep else -1
            rows.append(('cyclist', x, 0.1, with_traffic * rng.uniform(3.5, 6.0), 40.0,
                         0.05 + 0.6 * traits['cyclists'] ** 2))
            middle = side * (layout.kerb(side) + layout.pavement(side) / 2 + 0.3)
            for direction in (-1, 1):
                rows.append(('person', middle, layout.pavement(side) / 2 - 0.75,
                             direction * rng.uniform(1.1, 1.6), 13.0,
                             0.03 + 0.5 * traits['people'] ** 2))
        self._rows = tuple(Row(number, *row) for number, row in enumerate(rows))
        self._leaders = self._draw_leaders(ego)

    def _draw_leaders(self, ego: EgoMotion) -> list[Thing]:
        """Draw up to three vehicles ahead in the camera's own lane."""
        rng = stream(self._layout.seed, 6)
        things: list[Thing] = []
        count = int(rng.choice(4, p=(0.4, 0.3, 0.2, 0.1)))
        gap, delay = rng.uniform(10.0, 24.0), rng.uniform(0.5, 1.8)
        for index in range(count):
            path = Leading(ego, self._layout.ego_x + rng.normal(0, 0.15), gap, delay)
            made = vehicle(rng, _instance(index, _ROWS - 1), _instance(-index - 1, _ROWS - 1),
                           path, 'traffic', False, motorcycles=0.12, large=0.2)
            things += made
            gap += 12.0 + rng.uniform(1.0, 9.0)
            delay += rng.uniform(0.5, 1.5)
        return things

    def _slot(self, row: Row, slot: int) -> list[Thing]:
        """Draw what takes a slot, if anything does."""
        key = (row.number, slot)
        if key in self._cache:
            return self._cache[key]
        rng = stream(self._layout.seed, 7, row.number, slot)
        things: list[Thing] = []
        if rng.random() < row.odds:
            z = (slot + rng.uniform(0, 0.35)) * row.spacing
            path = Steady(row.x + rng.uniform(-1, 1) * row.width, z, row.speed)
            instance = _instance(slot, 2 * row.number)
            reverse = row.speed < 0
            if row.kind == 'vehicle':
                things = vehicle(rng, instance, _instance(slot, 2 * row.number + 1), path,
                                 'traffic', reverse, motorcycles=0.1, large=0.14)
            elif row.kind == 'cyclist':
                things = [cyclist(rng, instance, path, reverse)]
            else:
                things = [person(rng, instance, path)]
        self._cache[key] = things
        return things

    def near(self, time: float, first: float, last: float) -> list[Thing]:
        """Return what may be between two z at a moment in seconds."""
        things = list(self._leaders)
        for row in self._rows:
            moved = row.speed * time
            low = floor((first - moved) / row.spacing - 0.35)
            high = ceil((last - moved) / row.spacing)
            for slot in range(low, high + 1):
                things += self._slot(row, slot)
        return things
