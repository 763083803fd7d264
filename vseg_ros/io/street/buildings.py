"""Buildings, walls, fences, hedges and trees: stuff that stands beside the street."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vseg_ros.io.street import foliage, textures
from vseg_ros.io.street.camera import Points
from vseg_ros.io.street.facades import Facade
from vseg_ros.io.street.layout import Layout
from vseg_ros.io.street.painter import Painter
from vseg_ros.io.street.textures import Texture

UP = np.array([0.0, 1.0, 0.0])
_BUILDING, _WALL, _FENCE, _VEGETATION = 2, 3, 4, 8
_DETAILED = 45.0  # metres to which a barrier repeats its texture every 4 m
_PLANT_VIEW = 190.0


@dataclass(frozen=True, eq=False)
class Stuff:
    """
    Something without an instance id.

    Attributes:
        key: z by which it is painted; larger first.
        rank: place among stuff of the same key; smaller first.
        near: z of its near end.
        paint: paints it.
        shadow: world points of the outline that casts a shadow, [N, 3].

    """

    key: float
    rank: int
    near: float
    paint: Callable[[Painter], None]
    shadow: Points


def _depth(painter: Painter, point: Points) -> float:
    """Return a world point's distance along the view, at least one metre."""
    return max(1.0, float(painter.camera.to_camera(point[None])[0, 2]))


def building(layout: Layout, side: int, span: tuple[float, float], setback: float,
             facade: Facade, rng: np.random.Generator, covered: bool) -> Stuff:
    """
    Return a building.

    Args:
        layout: the street's plan.
        side: -1 left, 1 right.
        span: z of its near and far end.
        setback: metres from the street's centre line to its front.
        facade: its front.
        rng: its random stream.
        covered: whether a nearer house as high hides its flank.

    """
    z0, z1 = span
    x = side * setback
    height = facade.floors * layout.storey * rng.uniform(0.92, 1.12)
    deep = side * rng.uniform(8, 12)
    pitched = facade.floors <= 3 and rng.random() < 0.65
    ridge = rng.uniform(1.6, 3.2)
    tint = rng.uniform(0.78, 1.12) * (1 + rng.normal(0, 0.03, 3))
    tiles = np.array([(92, 66, 56), (74, 74, 80), (112, 80, 62), (60, 58, 58)][rng.integers(4)])
    chimney = pitched and rng.random() < 0.5
    near, far = layout.point(x, 0, z0), layout.point(x, 0, z1)
    back = layout.point(x + deep, 0, z0)
    up = height * UP
    start, end = (near, far) if side < 0 else (far, near)
    normal = np.cross(end - start, UP)
    normal = normal / np.linalg.norm(normal)
    facing = np.array([0.0, 0.0, -1.0])
    top = layout.point(x + deep / 2, height + ridge, z0)
    other = layout.point(x + deep / 2, height + ridge, z1)
    wall = facade.plain.mean

    def paint(painter: Painter) -> None:
        entity = painter.entity(_BUILDING, _depth(painter, (near + far) / 2))
        front, flank = painter.light(-normal) * tint, painter.light(facing) * tint
        if pitched:
            painter.polygon(np.array([near + up, back + up, top]), wall * flank, entity)
            roof = painter.light(UP) * 0.9
            painter.polygon(np.array([near + up, far + up, other, top]), tiles * roof, entity)
            if chimney:
                stack = top + (far - near) * 0.12
                side_points = [stack + offset for offset in
                               ((-0.4, -0.6, 0), (0.4, -0.6, 0), (0.4, 1.2, 0), (-0.4, 1.2, 0))]
                painter.polygon(np.array(side_points), wall * flank * 0.8, entity)
        if painter.camera.position[2] < z0 and not covered:
            painter.plane(facade.plain, near + up, back - near, -up, flank, entity)
        painter.plane(facade.texture, start + up, end - start, -up, front, entity)

    outline = np.array([near, far, far + up, near + up])
    return Stuff(z1, 0, z0, paint, outline)


def barrier(layout: Layout, side: int, span: tuple[float, float], x: float, height: float,
            texture: Texture, label: int, tint: float) -> Stuff:
    """Return a wall, fence or hedge along a span of z, `x` metres from the centre line."""
    z0, z1 = span
    near, far = layout.point(side * x, 0.0, z0), layout.point(side * x, 0.0, z1)
    start, end = (near, far) if side < 0 else (far, near)
    up = height * UP
    normal = np.array([-float(side), 0.0, 0.0])
    thick = {_WALL: 0.3, _VEGETATION: 0.8}.get(label, 0.0)

    def paint(painter: Painter) -> None:
        entity = painter.entity(label, _depth(painter, (near + far) / 2))
        gain = painter.light(normal) * tint
        if thick:
            color = texture.mean * painter.light(UP) * tint
            away = np.array([side * thick, 0.0, 0.0])
            painter.polygon(np.array([near, near + away, near + away + up, near + up]),
                            color * 0.7, entity)
        depth = _depth(painter, near)
        parts = max(1, round((z1 - z0) / 4.0)) if depth < _DETAILED else 1
        step = (end - start) / parts
        for index in range(parts):
            painter.plane(texture, start + step * index + up, step, -up, gain, entity)

    outline = np.array([near, far, far + up, near + up])
    return Stuff(z1, 2, z0, paint, outline)


def plant(layout: Layout, x: float, z: float, width: float, height: float, texture: Texture,
          tint: Points, in_garden: float | None = None) -> Stuff:
    """Return a tree or bush; `in_garden` is the far end of the lot it stands in, if any."""
    foot = layout.point(x, 0.0, z)

    def paint(painter: Painter) -> None:
        depth = float(painter.camera.to_camera(foot[None])[0, 2])
        if 1.0 < depth < _PLANT_VIEW:
            entity = painter.entity(_VEGETATION, depth)
            painter.picture(texture, foot, width, height, painter.light() * tint, entity)

    middle, reach = foot + 0.6 * height * UP, width * 0.38
    angles = np.arange(10) * np.pi / 5
    crown = middle + np.column_stack([np.cos(angles) * reach, np.sin(angles) * reach * 0.8,
                                      np.sin(angles) * reach])
    if in_garden is None:
        return Stuff(z - width * 0.25, 3, z, paint, crown)
    return Stuff(in_garden, 1, z, paint, crown)


def draw_tree(layout: Layout, rng: np.random.Generator, x: float, z: float,
              in_garden: float | None = None, largest: float = 11.0) -> Stuff:
    """Draw a tree of the street's season."""
    bare = rng.random() < layout.traits['bare']
    choices = foliage.bare_trees() if bare else foliage.leafy_trees()
    texture = choices[rng.integers(len(choices))]
    height = rng.uniform(0.5, 1.0) * largest
    tint = rng.uniform(0.65, 1.1) * (1 + rng.normal(0, 0.05, 3))
    return plant(layout, x, z, height * rng.uniform(0.75, 1.05), height, texture, tint, in_garden)


def draw_bush(layout: Layout, rng: np.random.Generator, x: float, z: float,
              in_garden: float | None = None) -> Stuff:
    """Draw a bush."""
    choices = foliage.bushes()
    height = rng.uniform(0.8, 2.6)
    tint = rng.uniform(0.65, 1.1) * (1 + rng.normal(0, 0.05, 3))
    return plant(layout, x, z, height * rng.uniform(1.0, 1.8), height,
                 choices[rng.integers(len(choices))], tint, in_garden)


def draw_front(layout: Layout, rng: np.random.Generator, side: int, span: tuple[float, float],
               x: float, kind: str) -> Stuff:
    """Draw a 'wall', 'fence' or 'hedge' in front of a lot."""
    tint = rng.uniform(0.75, 1.1)
    if kind == 'wall':
        choices = textures.brickwork()
        return barrier(layout, side, span, x, rng.uniform(0.8, 2.6),
                       choices[rng.integers(len(choices))], _WALL, tint)
    if kind == 'fence':
        choices = textures.railings()
        return barrier(layout, side, span, x, rng.uniform(0.9, 1.9),
                       choices[rng.integers(len(choices))], _FENCE, tint)
    choices = textures.hedges()
    return barrier(layout, side, span, x, rng.uniform(0.9, 2.4),
                   choices[rng.integers(len(choices))], _VEGETATION, tint)
