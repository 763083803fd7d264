"""Lamp posts, traffic signs and traffic lights: shapes, colours and how they are painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import cos, sin

import numpy as np

from vseg_ros.io.street.camera import Points
from vseg_ros.io.street.painter import Color, Lamp, Painter
from vseg_ros.io.street.things import Pose

Paint = Callable[[Painter, Pose, int], None]
POLE_COLORS: tuple[Color, ...] = ((74, 80, 78), (120, 124, 126), (44, 46, 48), (150, 152, 150),
                                  (58, 74, 62), (190, 188, 180))
SIGN_KINDS: dict[str, tuple[str, Color, Color]] = {
    'speed limit': ('red', (190, 28, 30), (232, 232, 228)),
    'no entry': ('red', (190, 28, 30), (190, 28, 30)),
    'warning triangle': ('red', (190, 28, 30), (236, 234, 224)),
    'blue disc': ('blue', (24, 74, 160), (24, 74, 160)),
    'parking sign': ('blue', (26, 72, 154), (26, 72, 154)),
    'direction sign': ('green', (24, 92, 66), (24, 92, 66)),
    'yellow sign': ('yellow', (226, 190, 40), (226, 190, 40)),
    'street sign': ('white', (60, 60, 60), (228, 228, 224))}
_STATES: dict[str, tuple[Color, Color, Color]] = {
    'red': ((255, 48, 36), (40, 32, 20), (16, 40, 30)),
    'yellow': ((52, 18, 16), (255, 190, 60), (16, 40, 30)),
    'green': ((52, 18, 16), (40, 32, 20), (60, 250, 170))}
LAMP = 0.55  # metres from one end of a lamp to the other
_ANGLES = np.arange(12) * np.pi / 6


def _upright(pose: Pose, outline: Points) -> Points:
    """Stand an outline (metres right and up, [N, 2]) across the street at a pose."""
    sine, cosine = sin(pose.heading), cos(pose.heading)
    points: Points = outline @ np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0]]) + pose.foot
    return points


def _paint(painter: Painter, pose: Pose, outlines: Points, ends: Sequence[int], colors: Points,
           entity: int) -> None:
    """Paint outlines, metres right and up, [N, 2], one after the other."""
    painter.polygons(painter.camera.to_image(_upright(pose, outlines)), ends, colors, entity)


def _shine(painter: Painter, middle: Points, radius: float, color: Color, entity: int) -> None:
    """Let a lamp of a radius in metres glow at a world point."""
    column, row, depth = painter.camera.to_image(middle[None])[0].tolist()
    if depth > 3:
        painter.lamps.append(Lamp(column / depth, row / depth,
                                  radius * painter.camera.focal / depth, color, entity))


def _bar(start: tuple[float, float], end: tuple[float, float], width: float,
         taper: float = 1.0) -> Points:
    """Return a bar between two points, [4, 2]."""
    first, last = np.array(start), np.array(end)
    along = (last - first) / np.linalg.norm(last - first)
    across = np.array([-along[1], along[0]]) * width / 2
    return np.array([first - across, first + across, last + across * taper, last - across * taper])


def pole(height: float, width: float, color: Color, arm: float = 0.0) -> Paint:
    """Return a pole; `arm` is the reach of its lamp to the right (negative: left), 0 for none."""
    bars = [_bar((0, 0), (0, height), width, 0.65),
            _bar((width * 0.18, 0), (width * 0.18, height), width * 0.3, 0.65)]
    colors = np.array([color, color]) * ((1.0,), (0.7,))
    lamp = np.empty((0, 2))
    if arm:
        tip = (arm, height + 0.25)
        lamp = _bar(tip, (arm + np.sign(arm) * LAMP, tip[1] + 0.04), 0.16)
        bars += [_bar((0, height - 0.05), tip, width * 0.6), lamp]
        colors = np.array([color] * 4) * ((1.0,), (0.7,), (1.0,), (1.2,))
    outlines = np.concatenate(bars)
    ends = range(4, len(outlines) + 1, 4)

    def paint(painter: Painter, pose: Pose, entity: int) -> None:
        lit = colors * painter.light()
        if arm and painter.conditions.lighting != 'day':
            lit[-1] = (255, 226, 170)
            _shine(painter, _upright(pose, lamp).mean(axis=0), 0.5, (255.0, 206.0, 130.0), entity)
        _paint(painter, pose, outlines, ends, lit, entity)
    return paint


def sign(kind: str, base: float, size: float, seen_from_behind: bool) -> Paint:
    """Return a sign's plate, its middle `base` metres up."""
    _, rim, face = SIGN_KINDS[kind]
    half = size / 2
    disc = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1) * half
    triangle = np.array([(-1.0, -0.8), (1.0, -0.8), (0.0, 0.95)]) * half
    panel = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    shape = {'warning triangle': triangle, 'parking sign': panel * (0.8, 1.0),
             'direction sign': panel * (1.7, 0.9), 'yellow sign': panel * (1.2, 0.8),
             'street sign': panel * (1.3, 0.6)}.get(kind, disc)
    mark = {'speed limit': panel * (0.3, 0.35), 'no entry': panel * (0.7, 0.16),
            'warning triangle': panel * (0.12, 0.35) - (0, 0.1 * half),
            'direction sign': panel * (1.2, 0.18)}.get(kind, panel * (0.35, 0.45))
    dark = kind in ('speed limit', 'warning triangle', 'yellow sign', 'street sign')
    ink = (30.0, 30.0, 32.0) if dark else (236.0, 236.0, 232.0)
    height = np.array([0.0, base])
    parts = [shape] if seen_from_behind else [shape, shape * 0.76, mark]
    outlines = np.concatenate(parts) + height
    ends = list(accumulate(len(part) for part in parts))
    colors = np.array([(120.0, 122, 124)] if seen_from_behind else [rim, face, ink])

    def paint(painter: Painter, pose: Pose, entity: int) -> None:
        _paint(painter, pose, outlines, ends, colors * painter.light() * 1.1, entity)
    return paint


def light_state(phase: float, time: float) -> str:
    """Return the colour of a traffic light that turns red at `phase` seconds, every 20 s."""
    clock = (time + phase) % 20.0
    return 'red' if clock < 8 else 'green' if clock < 17 else 'yellow'


def traffic_light(base: float, phase: float, seen_from_behind: bool) -> Paint:
    """Return a traffic light's housing, its lower edge `base` metres up."""
    board = np.array([(-0.26, -0.1), (0.26, -0.1), (0.26, 1.15), (-0.26, 1.15)])
    housing = np.array([(-0.16, 0.0), (0.16, 0.0), (0.16, 1.05), (-0.16, 1.05)])
    disc = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1) * 0.125
    middles = np.array([(0.0, base + 0.86 - 0.34 * row) for row in range(3)])
    parts = [board + np.array([0.0, base])]
    if not seen_from_behind:
        parts += [housing + np.array([0.0, base]), *(disc + middle for middle in middles)]
    outlines = np.concatenate(parts)
    ends = list(accumulate(len(part) for part in parts))
    dark = np.array([(30.0, 31, 33), (46.0, 48, 50)])

    def paint(painter: Painter, pose: Pose, entity: int) -> None:
        colors = dark * painter.light()
        lenses = _STATES[light_state(phase, pose.time)]
        if seen_from_behind:
            colors = colors[:1]
        else:
            colors = np.concatenate([colors, np.array(lenses, float)])
            row = int(np.argmax(np.max(lenses, axis=1)))
            _shine(painter, _upright(pose, middles[row:row + 1])[0], 0.14, lenses[row], entity)
        _paint(painter, pose, outlines, ends, colors, entity)
    return paint
