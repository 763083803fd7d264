"""
Cars, vans, buses, trucks and their paint.

A model is built once at its usual size; a street stretches it a little. A truck is two bodies,
of which the farther one is painted first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vseg_ros.io.street.mesh import Mesh, MeshBuilder, patch
from vseg_ros.io.street.painter import Color

PAINTS: tuple[tuple[str, Color, float], ...] = (  # name, colour, share of the cars
    ('white', (226, 226, 224), 0.17), ('black', (26, 27, 30), 0.17),
    ('grey', (108, 111, 116), 0.18), ('grey', (150, 153, 158), 0.12),
    ('blue', (34, 62, 138), 0.14), ('red', (158, 24, 28), 0.12),
    ('green', (30, 84, 54), 0.05), ('yellow', (222, 186, 40), 0.05))
_FIXED: dict[str, Color] = {
    'tyre': (20, 20, 21), 'hub': (120, 122, 124),
    'trim': (38, 39, 41), 'taillight': (190, 24, 20), 'headlight': (238, 236, 220),
    'plate': (226, 206, 90), 'board': (240, 170, 50), 'cargo': (200, 200, 196)}


@dataclass(frozen=True)
class VehicleModel:
    """
    One kind of vehicle.

    Attributes:
        bodies: its meshes, each with the z of its middle.
        size: width, height, length in metres.
        large: whether its class is truck_bus.

    """

    bodies: tuple[tuple[float, Mesh], ...]
    size: tuple[float, float, float]
    large: bool


def paint_colors(rng: np.random.Generator) -> tuple[str, dict[str, Color]]:
    """Draw a paint; returns its name and the colour of every tint."""
    name, color, _ = PAINTS[rng.choice(len(PAINTS), p=[share for *_, share in PAINTS])]
    gain = rng.uniform(0.85, 1.12) * (1 + rng.normal(0, 0.03, 3))
    paint = np.clip(np.array(color) * gain, 8, 235)
    cargo = rng.choice(((205, 205, 200), (60, 84, 140), (150, 60, 50), (180, 180, 90)))
    colors = dict(_FIXED)
    glass = rng.uniform(26, 84)  # windows mirror more or less of the sky
    colors['glass'] = (glass * 0.92, glass, glass * 1.08)
    colors['paint'] = (float(paint[0]), float(paint[1]), float(paint[2]))
    colors['cargo'] = (float(cargo[0]), float(cargo[1]), float(cargo[2]))
    if rng.random() < 0.5:
        colors['plate'] = (222.0, 222.0, 218.0)
    return name, colors


def _ends(builder: MeshBuilder, half: float, length: float, belt: float, bottom: float) -> None:
    """Add lights, bumpers, plates and a grille to both ends of a car."""
    rear, front = -length / 2 - 0.01, length / 2 + 0.01
    inside = np.array([0.0, belt / 2, 0.0])
    for z, lamp in ((rear, 'taillight'), (front, 'headlight')):
        quad = [np.array([-half, bottom, z]), np.array([half, bottom, z]),
                np.array([half, belt, z]), np.array([-half, belt, z])]
        builder.face(patch(quad, 0.0, 1.0, 0.0, 0.32), 'trim', inside, 1)
        builder.face(patch(quad, 0.02, 0.2, 0.58, 0.95), lamp, inside, 1)
        builder.face(patch(quad, 0.8, 0.98, 0.58, 0.95), lamp, inside, 1)
        if lamp == 'headlight':
            builder.face(patch(quad, 0.26, 0.74, 0.55, 0.8), 'trim', inside, 2)
        builder.face(patch(quad, 0.36, 0.64, 0.22, 0.42), 'plate', inside, 2)


def _car(length: float, height: float, rear_base: float, roof: tuple[float, float],
         screen_base: float, hood: float) -> VehicleModel:
    """Build a car from its side view; z shares of the length, from rear (-0.5) to front."""
    builder = MeshBuilder()
    half, belt, bottom = 0.87, height * 0.62, 0.2
    wheel_z, radius = length * 0.31, 0.31
    for sign in (-1, 1):
        builder.wheel(sign * wheel_z, half - 0.03, radius)
    nose = hood * height
    rear, front = -length / 2, length / 2
    builder.prism([(rear, bottom, half - 0.06), (rear, belt * 0.93, half - 0.05),
                   (rear_base * length, belt, half), (screen_base * length, belt, half),
                   (front - 0.12, nose, half - 0.06), (front, nose * 0.8, half - 0.1),
                   (front, bottom, half - 0.1)],
                  ['paint', 'paint', 'paint', 'paint', 'paint', 'paint', ''], 'paint')
    _ends(builder, half - 0.08, length, min(belt * 0.93, nose * 0.95), bottom)
    top = half - 0.22
    cabin = [(rear_base * length, belt, half - 0.03), (roof[0] * length, height, top),
             (roof[1] * length, height, top), (screen_base * length, belt, half - 0.03)]
    builder.prism(cabin, ['paint', 'paint', 'paint', ''], 'paint')
    ring = [np.array([half_width, y, z]) for z, y, half_width in cabin]
    other = [corner * (-1, 1, 1) for corner in ring]
    inside = np.array([0.0, belt, 0.0])
    out = np.array([0.0, 0.012, 0.0])
    builder.face(patch([other[0], ring[0], ring[1], other[1]], 0.07, 0.93, 0.08, 0.88) + out,
                 'glass', inside, 1)
    builder.face(patch([other[3], ring[3], ring[2], other[2]], 0.05, 0.95, 0.04, 0.9) + out,
                 'glass', inside, 1)
    for corners in (ring, other):
        side = [corners[0], corners[3], corners[2], corners[1]]
        offset = np.array([np.sign(corners[0][0]) * 0.012, 0, 0])
        builder.face(patch(side, 0.1, 0.49, 0.12, 0.86) + offset, 'glass', inside, 1)
        builder.face(patch(side, 0.53, 0.9, 0.12, 0.86) + offset, 'glass', inside, 1)
    for sign in (-1, 1):
        builder.wheel_discs(sign * wheel_z, half, radius)
    return VehicleModel(((0.0, builder.build()),), (2 * half, height, length), False)


def _panes(builder: MeshBuilder, half: float, rear: float, front: float, low: float, high: float,
           count: int) -> None:
    """Add rows of side windows."""
    inside = np.array([0.0, (low + high) / 2, (rear + front) / 2])
    for x in (-half - 0.012, half + 0.012):
        edges = np.linspace(rear, front, count + 1)
        for z0, z1 in zip(edges[:-1] + 0.06, edges[1:] - 0.06, strict=True):
            builder.face([(x, low, z0), (x, low, z1), (x, high, z1), (x, high, z0)], 'glass',
                         inside, 1)


def _van(length: float, height: float, windows: bool) -> VehicleModel:
    """Build a van with a short nose."""
    builder = MeshBuilder()
    half, rear, front, wheel_z = 0.95, -length / 2, length / 2, length * 0.31
    for sign in (-1, 1):
        builder.wheel(sign * wheel_z, half - 0.03, 0.34)
    builder.prism([(rear, 0.25, half), (rear, height * 0.95, half - 0.08),
                   (rear + 0.15, height, half - 0.12), (front - 1.6, height, half - 0.14),
                   (front - 0.75, height * 0.58, half - 0.03), (front, height * 0.46, half - 0.1),
                   (front, 0.25, half - 0.08)], ['paint'] * 6 + [''], 'paint')
    _ends(builder, half - 0.06, length, height * 0.45, 0.25)
    inside = np.array([0.0, 1.0, 0.0])
    top, base = half - 0.14, half - 0.03
    screen = [np.array([-base, height * 0.58, front - 0.75]),
              np.array([base, height * 0.58, front - 0.75]),
              np.array([top, height, front - 1.6]), np.array([-top, height, front - 1.6])]
    builder.face(patch(screen, 0.05, 0.95, 0.03, 0.85) + np.array([0.0, 0.01, 0.01]), 'glass',
                 inside, 1)
    for left, right in ((0.08, 0.46), (0.54, 0.92)):
        z = rear - 0.012
        quad = [np.array([-half, 0.25, z]), np.array([half, 0.25, z]),
                np.array([half, height, z]), np.array([-half, height, z])]
        builder.face(patch(quad, left, right, 0.55, 0.86), 'glass', inside, 1)
    _panes(builder, half - 0.03, rear + 0.2 if windows else front - 2.3, front - 1.35,
           height * 0.56, height * 0.88, 4 if windows else 1)
    for sign in (-1, 1):
        builder.wheel_discs(sign * wheel_z, half, 0.34)
    return VehicleModel(((0.0, builder.build()),), (2 * half, height, length), False)


def _bus(length: float, height: float, decks: int) -> VehicleModel:
    """Build a bus of one or two decks."""
    builder = MeshBuilder()
    half, rear, front, wheel_z = 1.25, -length / 2, length / 2, length * 0.3
    for sign in (-1, 1):
        builder.wheel(sign * wheel_z, half - 0.05, 0.48)
    builder.box((-half, 0.3, rear), (half, height, front), 'paint')
    inside = np.array([0.0, height / 2, 0.0])
    for deck in range(decks):
        low = 1.1 + deck * 1.95
        _panes(builder, half, rear + 0.3, front - 0.3, low, low + 0.95, 7)
        for z, high in ((rear - 0.012, low + 0.9), (front + 0.012, low + 1.1)):
            builder.face([(-1.1, low, z), (1.1, low, z), (1.1, high, z), (-1.1, high, z)],
                         'glass', inside, 1)
    for z, lamp in ((rear - 0.013, 'taillight'), (front + 0.013, 'headlight')):
        for x in (-1.05, 0.8):
            builder.face([(x, 0.55, z), (x + 0.25, 0.55, z), (x + 0.25, 0.85, z), (x, 0.85, z)],
                         lamp, inside, 1)
        builder.face([(-1.2, 0.3, z), (1.2, 0.3, z), (1.2, 0.48, z), (-1.2, 0.48, z)], 'trim',
                     inside, 1)
        builder.face([(-0.3, 0.55, z), (0.3, 0.55, z), (0.3, 0.7, z), (-0.3, 0.7, z)], 'plate',
                     inside, 2)
        builder.face([(-0.8, height - 0.42, z), (0.8, height - 0.42, z), (0.8, height - 0.15, z),
                      (-0.8, height - 0.15, z)], 'board', inside, 1)
    for sign in (-1, 1):
        builder.wheel_discs(sign * wheel_z, half, 0.48)
    return VehicleModel(((0.0, builder.build()),), (2.5, height, length), True)


def _truck(length: float, height: float) -> VehicleModel:
    """Build a truck: a cab ahead of a cargo box."""
    half, rear, front = 1.2, -length / 2, length / 2
    cab = MeshBuilder()
    cab.wheel(front - 1.0, half - 0.05, 0.48)
    cab.prism([(front - 1.9, 0.45, half - 0.05), (front - 1.9, 2.75, half - 0.1),
               (front - 0.35, 2.75, half - 0.12), (front, 1.5, half - 0.05),
               (front, 0.35, half - 0.05)], ['paint'] * 4 + [''], 'paint')
    inside = np.array([0.0, 1.5, front - 1.0])
    cab.face([(-1.05, 1.5, front + 0.01), (1.05, 1.5, front + 0.01),
              (0.98, 2.5, front - 0.27), (-0.98, 2.5, front - 0.27)], 'glass', inside, 1)
    _panes(cab, half - 0.06, front - 1.4, front - 0.35, 1.55, 2.4, 1)
    for x in (-1.05, 0.75):
        cab.face([(x, 0.6, front + 0.01), (x + 0.3, 0.6, front + 0.01),
                  (x + 0.3, 0.85, front + 0.01), (x, 0.85, front + 0.01)], 'headlight', inside, 1)
    cab.face([(-0.7, 0.7, front + 0.01), (0.7, 0.7, front + 0.01), (0.7, 1.3, front + 0.01),
              (-0.7, 1.3, front + 0.01)], 'trim', inside, 1)
    cab.wheel_discs(front - 1.0, half, 0.48)
    box = MeshBuilder()
    box.wheel(rear + 1.4, half - 0.05, 0.48)
    box.box((-half, 0.95, rear), (half, height, front - 2.05), 'cargo')
    box.box((-half + 0.1, 0.5, rear + 0.05), (half - 0.1, 0.95, front - 2.05), 'trim')
    inside = np.array([0.0, 1.8, 0.0])
    z = rear - 0.012
    box.face([(-0.03, 1.0, z), (0.03, 1.0, z), (0.03, height - 0.1, z), (-0.03, height - 0.1, z)],
             'trim', inside, 1)
    for x in (-1.1, 0.85):
        box.face([(x, 0.65, z), (x + 0.25, 0.65, z), (x + 0.25, 0.85, z), (x, 0.85, z)],
                 'taillight', inside, 1)
    box.wheel_discs(rear + 1.4, half, 0.48)
    return VehicleModel(((front - 1.0, cab.build()), (rear / 2, box.build())),
                        (2.4, height, length), True)


@lru_cache(maxsize=1)
def vehicle_models() -> dict[str, VehicleModel]:
    """Build every kind of car, truck and bus."""
    return {
        'hatchback': _car(3.9, 1.46, -0.49, (-0.4, 0.08), 0.27, 0.52),
        'saloon': _car(4.5, 1.43, -0.36, (-0.2, 0.1), 0.25, 0.5),
        'estate': _car(4.6, 1.5, -0.49, (-0.42, 0.08), 0.24, 0.52),
        'off-roader': _car(4.5, 1.75, -0.49, (-0.44, 0.1), 0.22, 0.58),
        'van': _van(4.9, 1.95, windows=False), 'people carrier': _van(4.6, 1.75, windows=True),
        'bus': _bus(10.5, 3.0, 1), 'double-decker': _bus(10.2, 4.3, 2),
        'truck': _truck(8.0, 3.3), 'box truck': _truck(6.5, 2.9)}
