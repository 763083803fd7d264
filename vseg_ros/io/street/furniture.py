"""Lamp posts, traffic signs and traffic lights: shapes, colours and how they are painted."""

from __future__ import annotations

from collections.abc import Callable

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
_ANGLES = np.arange(12) * np.pi / 6


def _upright(pose: Pose, outline: Points, ahead: float = 0.0) -> Points:
    """Stand an outline (metres right and up, [N, 2]) across the street at a pose."""
    heading = pose.heading
    right = np.array([np.cos(heading), 0.0, -np.sin(heading)])
    forward = np.array([np.sin(heading), 0.0, np.cos(heading)])
    foot: Points = pose.foot + forward * ahead
    return foot + outline[:, :1] * right + outline[:, 1:] * np.array([0.0, 1.0, 0.0])


def _bar(start: tuple[float, float], end: tuple[float, float], width: float,
         taper: float = 1.0) -> Points:
    """Return a bar between two points, [4, 2]."""
    first, last = np.array(start), np.array(end)
    along = (last - first) / np.linalg.norm(last - first)
    across = np.array([-along[1], along[0]]) * width / 2
    return np.array([first - across, first + across, last + across * taper, last - across * taper])


def pole(height: float, width: float, color: Color, arm: float = 0.0) -> Paint:
    """Return a pole; `arm` is the reach of its lamp to the right (negative: left), 0 for none."""
    def paint(painter: Painter, pose: Pose, entity: int) -> None:
        gain = np.array(color) * painter.light()
        painter.polygon(_upright(pose, _bar((0, 0), (0, height), width, 0.65)), gain, entity)
        painter.polygon(_upright(pose, _bar((width * 0.18, 0), (width * 0.18, height),
                                            width * 0.3, 0.65)), gain * 0.7, None)
        if arm:
            tip = (arm, height + 0.25)
            painter.polygon(_upright(pose, _bar((0, height - 0.05), tip, width * 0.6)), gain,
                            entity)
            end = np.sign(arm) * 0.55
            lamp = _bar(tip, (tip[0] + end, tip[1] + 0.04), 0.16)
            night = painter.conditions.lighting != 'day'
            lit = np.array([255.0, 226, 170]) if night else gain * 1.2
            painter.polygon(_upright(pose, lamp), lit, entity)
            spot = painter.camera.to_camera(_upright(pose, lamp).mean(axis=0)[None])
            if night and spot[0, 2] > 3:
                column, row = painter.camera.project(spot)[0]
                radius = 0.5 * painter.camera.focal / spot[0, 2]
                painter.lamps.append(Lamp(column, row, radius, (255.0, 206.0, 130.0), entity))
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
    ink = np.array([30.0, 30, 32] if dark else [236.0, 236, 232])

    def paint(painter: Painter, pose: Pose, entity: int) -> None:
        gain = painter.light() * 1.1
        height = np.array([0.0, base])
        if seen_from_behind:
            painter.polygon(_upright(pose, shape + height), np.array([120.0, 122, 124]) * gain,
                            entity)
            return
        painter.polygon(_upright(pose, shape + height), np.array(rim) * gain, entity)
        painter.polygon(_upright(pose, shape * 0.76 + height), np.array(face) * gain, None)
        painter.polygon(_upright(pose, mark + height), ink * gain, None)
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

    def paint(painter: Painter, pose: Pose, entity: int) -> None:
        height = np.array([0.0, base])
        gain = painter.light()
        painter.polygon(_upright(pose, board + height), np.array([30.0, 31, 33]) * gain, entity)
        if seen_from_behind:
            return
        painter.polygon(_upright(pose, housing + height), np.array([46.0, 48, 50]) * gain, None)
        for row, color in enumerate(_STATES[light_state(phase, pose.time)]):
            middle = height + (0.0, 0.86 - 0.34 * row)
            lit = max(color) > 200
            points = _upright(pose, disc + middle, -0.02)
            painter.polygon(points, np.array(color, float), None)
            spot = painter.camera.to_camera(points.mean(axis=0)[None])
            if lit and spot[0, 2] > 3:
                column, line = painter.camera.project(spot)[0]
                radius = 0.14 * painter.camera.focal / spot[0, 2]
                painter.lamps.append(Lamp(column, line, radius, color, entity))
    return paint
