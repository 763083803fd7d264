"""
People on foot, on bicycles and on motorcycles.

A body is a set of flat limbs in a plane that faces the camera. On foot it walks with a swing of
legs and arms. A machine is a small mesh below its rider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import sin

import numpy as np

from vseg_ros.io.street.camera import NEAR, Points
from vseg_ros.io.street.mesh import Mesh, MeshBuilder
from vseg_ros.io.street.painter import Color, Painter

CLOTHES: dict[str, Color] = {
    'black': (30, 30, 33), 'grey': (104, 106, 110), 'white': (214, 212, 206),
    'blue': (48, 70, 128), 'red': (160, 36, 38), 'green': (58, 92, 62),
    'yellow': (214, 190, 62), 'brown': (104, 78, 58)}
_SKINS = ((226, 184, 156), (198, 152, 122), (140, 98, 74), (92, 64, 50))
_ODDS = np.array([0.27, 0.16, 0.1, 0.19, 0.1, 0.06, 0.05, 0.07])
_CIRCLE = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)


@dataclass(frozen=True)
class Outfit:
    """
    What someone wears.

    Attributes:
        name: name of the coat's colour.
        coat: its colour.
        legs: colour of the trousers.
        skin: colour of the face.
        hair: colour of hair, hat or helmet.

    """

    name: str
    coat: Color
    legs: Color
    skin: Color
    hair: Color


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """Draw what someone wears."""
    names = list(CLOTHES)
    coat, legs = rng.choice(len(names), 2, p=_ODDS)
    gain = rng.uniform(0.8, 1.15)
    hair = rng.choice(((34, 28, 24), (70, 50, 34), (150, 130, 100), (90, 90, 90)))
    return Outfit(names[coat], _times(CLOTHES[names[coat]], gain),
                  _times(CLOTHES[names[legs]], 0.55 * gain),
                  _SKINS[rng.integers(len(_SKINS))], _times((hair[0], hair[1], hair[2]), 1.0))


def _times(color: Color, gain: float) -> Color:
    """Scale a colour."""
    return float(color[0] * gain), float(color[1] * gain), float(color[2] * gain)


def _limbs(ends: Sequence[tuple[float, float, float, float, float]]) -> Points:
    """Return tapered limbs, [K, 4, 2], each given by x, y, end x, end y and its width."""
    table = np.array(ends)
    first, last = table[:, :2], table[:, 2:4]
    along = last - first
    along *= table[:, 4:] / (2 * np.sqrt((along * along).sum(axis=1, keepdims=True)) + 1e-9)
    across = along[:, ::-1] * (-1, 1)
    return np.stack([first - across, first + across, last + across * 0.75, last - across * 0.75],
                    axis=1)


def walking_limbs(outfit: Outfit, height: float, phase: float, swing: float,
                  side: bool) -> list[tuple[Points, Color]]:
    """
    Pose someone on foot.

    Args:
        outfit: what they wear.
        height: metres.
        phase: of the step, radians.
        swing: reach of the legs, 0 (standing) to 1.
        side: whether they are seen from the side.

    Returns:
        The limbs, back to front: metres to the right and up, [N, 2], and colour.

    """
    reach = swing * sin(phase) * 0.27 * (1.0 if side else 0.12)
    raised = swing * 0.07 * sin(phase + 1.5)
    lift = (max(0.0, raised), max(0.0, -raised))
    spread = 0.02 if side else 0.09
    hip, neck = 0.5 * height, 0.84 * height
    shoulder = (0.12 if side else 0.19) * height / 1.7
    dark = _times(outfit.coat, 0.8)
    hand = shoulder * 1.1 - reach * 0.9
    back_leg, back_arm, front_leg, front_arm = _limbs((
        (spread, hip, spread + reach, lift[0], 0.17),
        (shoulder * 0.9, neck - 0.06, hand, hip - 0.02, 0.11),
        (-spread, hip, -spread - reach, lift[1], 0.17),
        (-shoulder * 0.9, neck - 0.06, -hand, hip - 0.02, 0.11)))
    torso = np.array([(-shoulder * 0.85, hip - 0.06), (shoulder * 0.85, hip - 0.06),
                      (shoulder, neck - 0.05), (shoulder * 0.5, neck), (-shoulder * 0.5, neck),
                      (-shoulder, neck - 0.05)])
    limbs = [(back_leg, _times(outfit.legs, 0.8)), (back_arm, dark), (front_leg, outfit.legs),
             (torso, outfit.coat), (front_arm, dark)]
    return limbs + _head(outfit, neck, height)


def _head(outfit: Outfit, neck: float, height: float) -> list[tuple[Points, Color]]:
    """Return neck, face and hair."""
    middle = np.array([0.0, neck + 0.085 * height])
    radii = np.array([0.05, 0.068]) * height
    throat = np.array([(-0.045, neck - 0.02), (0.045, neck - 0.02), (0.04, neck + 0.06),
                       (-0.04, neck + 0.06)])
    return [(throat, outfit.skin), (middle + _CIRCLE * radii, outfit.skin),
            (middle + np.array([0.0, 0.02 * height]) + _CIRCLE * radii * (1.02, 0.75),
             outfit.hair)]


def riding_limbs(outfit: Outfit, height: float, phase: float, saddle: float,
                 towards: bool) -> list[tuple[Points, Color]]:
    """Pose someone on a saddle (metres high), seen from behind or, `towards`, from the front."""
    neck = saddle + 0.34 * height
    pedal = 0.12 * sin(phase)
    legs = _times(outfit.legs, 0.85)
    sleeve = _times(outfit.coat, 0.85)
    right_leg, left_leg, right_arm, left_arm = _limbs((
        (0.1, saddle, 0.13, 0.3 + pedal, 0.17), (-0.1, saddle, -0.13, 0.3 - pedal, 0.17),
        (0.21, neck - 0.08, 0.27, saddle + 0.12, 0.1),
        (-0.21, neck - 0.08, -0.27, saddle + 0.12, 0.1)))
    torso = np.array([(-0.17, saddle - 0.08), (0.17, saddle - 0.08), (0.22, neck - 0.08),
                      (0.1, neck), (-0.1, neck), (-0.22, neck - 0.08)])
    limbs = [(right_leg, legs), (left_leg, outfit.legs), (torso, outfit.coat),
             (right_arm, sleeve), (left_arm, sleeve)]
    head = _head(outfit, neck - 0.02, height)
    return limbs + (head if towards else [head[0], (head[1][0], outfit.hair), head[2]])


def paint_limbs(painter: Painter, limbs: list[tuple[Points, Color]], foot: Points,
                entity: int) -> None:
    """Paint a pose standing on a world point, facing the camera."""
    camera = painter.camera
    column, row, depth = camera.to_image(foot[None])[0].tolist()
    if depth < 2 * NEAR:
        return
    outlines = np.concatenate([outline for outline, _ in limbs])
    points = np.empty((len(outlines), 3))
    points[:, 0] = column + camera.focal * outlines[:, 0]
    points[:, 1] = row - camera.focal * outlines[:, 1]
    points[:, 2] = depth
    ends = list(accumulate(len(outline) for outline, _ in limbs))
    colors = np.array([color for _, color in limbs]) * painter.light()
    painter.polygons(points, ends, colors, entity)


def _ring(builder: MeshBuilder, z: float, radius: float, half: float, tint: str) -> None:
    """Add a wheel as two discs and a tread that is seen from ahead and behind."""
    angles = np.arange(12) * np.pi / 6
    for x in (-half, half):
        circle = np.column_stack([np.full(12, x), radius + radius * np.sin(angles),
                                  z + radius * np.cos(angles)])
        builder.face(circle, tint, np.array([0.0, radius, z]))
    for end in (z - radius * 0.9, z + radius * 0.9):
        builder.face([(-half, 0, end), (half, 0, end), (half, 2 * radius, end),
                      (-half, 2 * radius, end)], tint, np.array([0.0, radius, z]))


@lru_cache(maxsize=1)
def bicycle() -> Mesh:
    """Build a bicycle."""
    builder = MeshBuilder()
    for z in (-0.52, 0.52):
        _ring(builder, z, 0.34, 0.03, 'tyre')
    builder.face([(0, 0.42, -0.5), (0, 0.34, 0.0), (0, 0.85, -0.15), (0, 0.9, 0.42),
                  (0, 0.8, 0.45), (0, 0.4, 0.02)], 'paint', None)
    builder.box((-0.27, 0.96, 0.4), (0.27, 1.0, 0.46), 'tyre')
    return builder.build()


@lru_cache(maxsize=1)
def motorcycle() -> Mesh:
    """Build a motorcycle."""
    builder = MeshBuilder()
    for z in (-0.68, 0.68):
        _ring(builder, z, 0.32, 0.09, 'tyre')
    builder.prism([(-0.95, 0.62, 0.12), (-0.95, 0.82, 0.12), (-0.1, 0.8, 0.16),
                   (0.3, 1.0, 0.17), (0.7, 0.85, 0.12), (0.4, 0.3, 0.16), (-0.4, 0.28, 0.17)],
                  ['trim', 'trim', 'paint', 'paint', 'paint', 'trim', ''], 'paint')
    builder.box((-0.38, 0.98, 0.42), (0.38, 1.04, 0.5), 'trim')
    builder.box((-0.13, 0.78, 0.6), (0.13, 1.15, 0.72), 'paint')
    inside = np.array([0.0, 0.8, 0.0])
    builder.face([(-0.09, 0.82, 0.73), (0.09, 0.82, 0.73), (0.09, 1.0, 0.73),
                  (-0.09, 1.0, 0.73)], 'headlight', inside, 1)
    builder.face([(-0.09, 0.66, -0.96), (0.09, 0.66, -0.96), (0.09, 0.78, -0.96),
                  (-0.09, 0.78, -0.96)], 'taillight', inside, 1)
    builder.face([(-0.1, 0.42, -0.97), (0.1, 0.42, -0.97), (0.1, 0.56, -0.97),
                  (-0.1, 0.56, -0.97)], 'plate', inside, 2)
    return builder.build()
