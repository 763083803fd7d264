"""
The plan of one street: lanes, edges, bends and the character of what stands along it.

Street coordinates are `x` across (metres to the right of the centre line), `y` up and `z` along.
The bend moves everything sideways by a sine of `z`; `Layout.world` applies it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sin

import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street.camera import Points
from vseg_ros.io.street.painter import Color

Array = NDArray[np.float64]
LOT_KINDS = ('terrace', 'house', 'green', 'wall', 'open')
BLOCK = 48.0  # metres along the street that are planned at once
CROSS_STREET = 10.0  # metres at a block's start that a side street takes
PARKING = 2.2
KERB = 0.12


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the random stream of a key; its numbers may be negative."""
    return np.random.default_rng([seed, *(2 * k if k >= 0 else -2 * k - 1 for k in key)])


@dataclass(frozen=True, eq=False)
class Layout:
    """
    The plan of one street.

    Attributes:
        seed: root of its random streams.
        keep: side of the road to drive on, -1 left or 1 right.
        lane: width of a lane in metres.
        lanes: number of lanes in each direction.
        edges: x of the left and the right kerb.
        parking: whether cars may park at the left and at the right kerb.
        sidewalk: width of the left and the right sidewalk.
        ego_x: x of the camera car's lane.
        bend: amplitude in metres, wave length in metres and phase of the bend.
        kinds: odds of `LOT_KINDS` on the left and on the right, [2, 5].
        traits: odds and densities by name, each 0..1.
        storey: height of a storey in metres.
        colors: colours of the ground by name.

    """

    seed: int
    keep: int
    lane: float
    lanes: int
    edges: tuple[float, float]
    parking: tuple[bool, bool]
    sidewalk: tuple[float, float]
    ego_x: float
    bend: tuple[float, float, float]
    kinds: Array
    traits: dict[str, float]
    storey: float
    colors: dict[str, Color]

    def shift(self, z: Array) -> Array:
        """Return how far the bend moves the street to the right at `z`."""
        amplitude, length, phase = self.bend
        result: Array = amplitude * np.sin(2 * np.pi * z / length + phase)
        return result

    def heading(self, z: Array) -> Array:
        """Return the street's direction at `z` in radians, to the right of the z axis."""
        amplitude, length, phase = self.bend
        slope = amplitude * 2 * np.pi / length * np.cos(2 * np.pi * z / length + phase)
        result: Array = np.arctan(slope)
        return result

    def world(self, x: Array | float, y: Array | float, z: Array | float) -> Points:
        """Turn street coordinates, which broadcast, to world points, float64 [N, 3]."""
        along = np.atleast_1d(np.asarray(z, float))
        across = x + self.shift(along)
        points: Points = np.empty((len(across), 3))
        points[:, 0], points[:, 1], points[:, 2] = across, y, along
        return points

    def point(self, x: float, y: float, z: float) -> Points:
        """Turn one place in street coordinates to a world point, float64 [3]."""
        amplitude, length, phase = self.bend
        return np.array([x + amplitude * sin(2 * pi * z / length + phase), y, z])

    def kerb(self, side: int) -> float:
        """Return the distance of a side's (-1 left, 1 right) kerb from the centre line."""
        return abs(self.edges[(side + 1) // 2])

    def pavement(self, side: int) -> float:
        """Return the width of a side's sidewalk."""
        return self.sidewalk[(side + 1) // 2]


def draw_layout(seed: int) -> Layout:
    """Draw the plan of the street of a seed."""
    rng = stream(seed, 1)
    keep = -1 if rng.random() < 0.6 else 1
    lanes = 1 if rng.random() < 0.8 else 2
    lane = rng.uniform(2.7, 3.4)
    parking = (bool(rng.random() < 0.55), bool(rng.random() < 0.55))
    left, right = (lanes * lane + (PARKING if parks else 0.4) for parks in parking)
    index = int(rng.integers(lanes))
    concentration = np.array([2.2, 1.1, 0.6, 0.3, 0.4])
    shared = rng.dirichlet(concentration)
    kinds = np.stack([0.6 * shared + 0.4 * rng.dirichlet(concentration) for _ in range(2)])
    kinds /= kinds.sum(axis=1, keepdims=True)
    length = rng.uniform(180, 420)
    bend = (rng.uniform(0, 0.018) * length / 2 * rng.choice((0.3, 1.0, 1.0)), length,
            rng.uniform(0, 2 * np.pi))
    grey = rng.uniform(88, 140)
    slab = rng.uniform(112, 176)
    cool = rng.normal(0, 0.03)
    colors: dict[str, Color] = {
        'road': (grey * (1 - cool), grey, grey * (1.03 + cool)),
        'sidewalk': (slab * 1.03, slab * rng.uniform(0.95, 1.0), slab * rng.uniform(0.86, 0.99)),
        'kerb': (slab * 1.12, slab * 1.1, slab * 1.07),
        'grass': (rng.uniform(70, 110), rng.uniform(92, 126), rng.uniform(40, 66)),
        'paint': (214.0, 214.0, 208.0), 'yellow': (206.0, 172.0, 70.0)}
    names = ('traffic', 'parked', 'people', 'cyclists', 'avenue', 'bare', 'signs', 'lamps',
             'shops', 'fences')
    traits = dict(zip(names, rng.uniform(0, 1, len(names)).tolist(), strict=True))
    return Layout(
        seed=seed, keep=keep, lane=lane, lanes=lanes, edges=(-left, right), parking=parking,
        sidewalk=(rng.uniform(2.0, 5.0), rng.uniform(2.0, 5.0)),
        ego_x=keep * lane * (0.5 + index), bend=bend, kinds=kinds, traits=traits,
        storey=rng.uniform(2.9, 3.9), colors=colors)
