"""
What stands still along 48 m of one side of the street: lots, trees, poles, signs, parked cars.

A block is drawn from a random stream of its own number, so that the street has no end and any
part of it can be made without the parts before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vseg_ros.io.street import buildings, furniture
from vseg_ros.io.street.actors import person, vehicle
from vseg_ros.io.street.buildings import Stuff
from vseg_ros.io.street.facades import facades
from vseg_ros.io.street.layout import BLOCK, CROSS_STREET, LOT_KINDS, Layout, stream
from vseg_ros.io.street.motion import EgoMotion
from vseg_ros.io.street.things import Crossing, Steady, Thing

_POLE, _LIGHT, _SIGN = 5, 6, 7
_THINGS = 48  # ids kept for each side of a block


@dataclass(eq=False)
class Block:
    """
    One side of a stretch of street.

    Attributes:
        start: z of its near end.
        side: -1 left, 1 right.
        cross: whether a side street opens at its start.
        zebra: whether people cross there.
        stuff: what has no instance id.
        things: what has one.
        lots: ground of the lots: kind, x of both edges, z of both ends.

    """

    start: float
    side: int
    cross: bool
    zebra: bool
    stuff: list[Stuff] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    lots: list[tuple[str, float, float, float, float]] = field(default_factory=list)


def draw_block(layout: Layout, ego: EgoMotion, number: int, side: int) -> Block:
    """Draw one side of the block of that number."""
    shared = stream(layout.seed, 2, number)
    cross = bool(shared.random() < 0.35)
    block = Block(number * BLOCK, side, cross, bool(shared.random() < (0.75 if cross else 0.15)))
    rng = stream(layout.seed, 3, number, side)
    _Drawer(layout, ego, block, rng, number, float(shared.uniform(0, 20))).draw()
    return block


class _Drawer:
    """Fills one block."""

    def __init__(self, layout: Layout, ego: EgoMotion, block: Block, rng: np.random.Generator,
                 number: int, light_phase: float) -> None:
        self.layout, self.ego, self.block, self.rng = layout, ego, block, rng
        self.light_phase = light_phase
        self._terrace: int | None = None  # storeys of a house right before the next lot
        self.kerb = layout.kerb(block.side)
        self.outer = self.kerb + layout.pavement(block.side)
        self.first = block.start + (CROSS_STREET if block.cross else 0.0)
        folded = 2 * number if number >= 0 else -2 * number - 1
        self._next_id = (2 * folded + (block.side > 0)) * _THINGS
        self._last_id = self._next_id + _THINGS

    def draw(self) -> None:
        """Draw everything, from the houses to the kerb."""
        self._lots()
        self._lamps_and_trees()
        self._signs()
        if self.block.zebra:
            self._crossing()
        self._bystanders()
        self._parked()

    def _id(self) -> int | None:
        """Return the next free instance id, None when the block has used all of its own."""
        if self._next_id >= self._last_id:
            return None
        self._next_id += 1
        return (self._next_id - 1) % 32000 + 1

    def _lots(self) -> None:
        """Divide the block into lots."""
        rng, layout = self.rng, self.layout
        odds = layout.kinds[(self.block.side + 1) // 2]
        usual = str(rng.choice(LOT_KINDS, p=odds))
        z, end = self.first, self.block.start + BLOCK
        while z < end - 1:
            length = rng.uniform(8, 16)
            stop = end if z + length > end - 6 else z + length
            kind = usual if rng.random() < 0.8 else str(rng.choice(LOT_KINDS, p=odds))
            self._lot(kind, z, stop)
            z = stop

    def _lot(self, kind: str, z0: float, z1: float) -> None:
        """Fill one lot: ground, building, garden and front."""
        rng, layout, side, outer = self.rng, self.layout, self.block.side, self.outer
        choices = facades()
        facade = choices[rng.integers(len(choices))]
        ground, front = 'sidewalk', ''
        setback = 0.0
        span = (z0, z1)
        if kind == 'house':
            setback = rng.uniform(2.5, 7)
            gap = rng.uniform(0.5, 2.5)
            span = (z0 + gap, z1 - gap)
            facade = choices[[f.floors for f in choices].index(2) if rng.random() < 0.5
                             else rng.integers(len(choices))]
            ground = 'grass'
            front = str(rng.choice(('wall', 'fence', 'hedge', ''), p=self._fronts(0.12)))
        elif kind == 'green':
            ground = 'grass'
            front = str(rng.choice(('wall', 'fence', 'hedge', ''), p=self._fronts(0.4)))
        elif kind == 'wall':
            front = 'wall' if rng.random() < 0.7 else 'fence'
            setback = rng.uniform(5, 12)
        elif kind == 'open':
            setback = rng.uniform(8, 20)
            front = 'fence' if rng.random() < 0.4 * layout.traits['fences'] else ''
        if kind != 'green' and not (kind == 'wall' and rng.random() < 0.5):
            covered = self._terrace is not None and setback == 0 and facade.floors < self._terrace
            self.block.stuff.append(buildings.building(layout, side, span, outer + setback,
                                                       facade, rng, covered))
            self._terrace = facade.floors if setback == 0 else None
        else:
            self._terrace = None
        self.block.lots.append((ground, side * outer, side * (outer + setback + 14), z0, z1))
        self._garden(kind, z0, z1, setback)
        if front:
            self.block.stuff.append(buildings.draw_front(layout, rng, side, (z0, z1),
                                                         outer + 0.05, front))

    def _fronts(self, none: float) -> list[float]:
        """Return the odds of wall, fence, hedge and nothing before a garden."""
        fences = 0.2 + 0.5 * self.layout.traits['fences']
        rest = 1 - none
        return [rest * (1 - fences) / 2, rest * fences, rest * (1 - fences) / 2, none]

    def _garden(self, kind: str, z0: float, z1: float, setback: float) -> None:
        """Plant trees and bushes between the front and the building."""
        rng, side, outer = self.rng, self.block.side, self.outer
        if kind in ('terrace', 'open'):
            return
        room = max(2.5, setback - 1.0) if kind == 'house' else 10.0
        trees = rng.poisson(0.5 if kind == 'house' else 2.6)
        for place in sorted(rng.uniform(1.0, room, trees), reverse=True):
            self.block.stuff.append(buildings.draw_tree(
                self.layout, rng, side * (outer + place), rng.uniform(z0 + 1, z1 - 1), z1,
                7.0 if kind == 'house' else 13.0))
        for place in sorted(rng.uniform(0.8, room, rng.poisson(1.2)), reverse=True):
            self.block.stuff.append(buildings.draw_bush(
                self.layout, rng, side * (outer + place), rng.uniform(z0 + 1, z1 - 1), z1))

    def _lamps_and_trees(self) -> None:
        """Set lamp posts, bollards and street trees near the kerb."""
        rng, layout, side = self.rng, self.layout, self.block.side
        x = side * (self.kerb + 0.55)
        color = furniture.POLE_COLORS[stream(layout.seed, 4).integers(
            len(furniture.POLE_COLORS))]
        for z in np.arange(self.first + rng.uniform(1, 12), self.block.start + BLOCK, 24.0):
            if rng.random() < 0.25 + 0.7 * layout.traits['lamps']:
                height = rng.uniform(5.5, 8.5)
                width, arm = rng.uniform(0.13, 0.22), rng.uniform(0.6, 1.8)
                reach = 2 * (arm + furniture.LAMP)
                self._fixed(_POLE, 'lamp post', '', (reach, height, width), x, z,
                            furniture.pole(height, width, color, -side * arm))
        if layout.traits['avenue'] > 0.55 and layout.pavement(side) > 2.2:
            for z in np.arange(self.first + rng.uniform(3, 9), self.block.start + BLOCK, 10.0):
                if rng.random() < 0.75:
                    self.block.stuff.append(buildings.draw_tree(layout, rng, x, z))
        if rng.random() < 0.25:
            start = rng.uniform(self.first, self.first + 20)
            for z in np.arange(start, start + 8, 1.8):
                self._fixed(_POLE, 'bollard', '', (0.15, 1.0, 0.15), x, z,
                            furniture.pole(1.0, 0.16, (46.0, 46, 48)))

    def _fixed(self, label: int, kind: str, color: str, size: tuple[float, float, float],
               x: float, z: float, paint: furniture.Paint, order: int = 0) -> None:
        """Add something that never moves."""
        instance = self._id()
        if instance is not None:
            self.block.things.append(Thing(instance, label, kind, color, size, Steady(x, z),
                                           paint, 'fixed', order=order))

    def _signs(self) -> None:
        """Set traffic signs."""
        rng, side = self.rng, self.block.side
        for z in rng.uniform(self.first + 1, self.block.start + BLOCK - 1,
                             rng.poisson(0.5 + 1.4 * self.layout.traits['signs'])):
            kind = str(rng.choice(list(furniture.SIGN_KINDS)))
            base, size = rng.uniform(2.1, 2.7), rng.uniform(0.6, 0.95)
            x = side * (self.kerb + rng.uniform(0.4, 0.9))
            behind = side != self.layout.keep and rng.random() < 0.7
            color = 'grey' if behind else furniture.SIGN_KINDS[kind][0]
            self._fixed(_POLE, 'sign post', '', (0.08, base + 0.3, 0.08), x, z,
                        furniture.pole(base + size / 2, 0.09, (118.0, 120, 122)))
            self._fixed(_SIGN, kind, color, (size, size, 0.02), x, z,
                        furniture.sign(kind, base, size, behind), 1)

    def _crossing(self) -> None:
        """Set traffic lights and send people across the road."""
        rng, layout, side = self.rng, self.layout, self.block.side
        z = self.block.start + (CROSS_STREET if self.block.cross else 0.0) + 1.0
        x = side * (self.kerb + 0.45)
        behind = side != layout.keep and rng.random() < 0.6
        phase = self.light_phase
        self._fixed(_POLE, 'light post', '', (0.12, 3.4, 0.12), x, z,
                    furniture.pole(3.3, 0.13, (52.0, 54, 56)))
        self._fixed(_LIGHT, 'traffic light', '', (0.5, 1.2, 0.3), x, z,
                    furniture.traffic_light(2.3, phase, behind), 1)
        arrival = self.ego.time_at(z + 1.0)
        for _ in range(rng.poisson(0.4 + 1.2 * layout.traits['people'])):
            speed = rng.uniform(1.1, 1.7)
            way = (x, -side * (layout.kerb(-side) + 0.6))
            start = arrival - abs(way[1] - way[0]) / speed - rng.uniform(1.5, 8.0)
            self._person(Crossing(way[0], way[1], z + rng.uniform(0.8, 3.0), start, speed))

    def _bystanders(self) -> None:
        """Let people stand on the sidewalk."""
        rng, side = self.rng, self.block.side
        for _ in range(rng.poisson(1.6 * self.layout.traits['people'])):
            x = side * rng.uniform(self.kerb + 0.9, self.outer - 0.3)
            self._person(Steady(x, rng.uniform(self.first, self.block.start + BLOCK)))

    def _person(self, path: Steady | Crossing) -> None:
        """Add someone on foot."""
        instance = self._id()
        if instance is not None:
            self.block.things.append(person(self.rng, instance, path))

    def _parked(self) -> None:
        """Park cars, and now and then a motorcycle, along the kerb."""
        rng, layout, side = self.rng, self.layout, self.block.side
        if not layout.parking[(side + 1) // 2]:
            return
        share = 0.15 + 0.75 * layout.traits['parked']
        for z in np.arange(self.first + 6.0, self.block.start + BLOCK - 3.0, 6.0):
            instance = self._id()
            if instance is None or rng.random() > share:
                continue
            along = (side == layout.keep) != (rng.random() < 0.12)
            path = Steady(side * (self.kerb - rng.uniform(1.0, 1.25)), z + rng.uniform(-0.4, 0.4))
            self.block.things.extend(vehicle(rng, instance, None, path, 'parked', not along,
                                             motorcycles=0.1, large=0.02))
