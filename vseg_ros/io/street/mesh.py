"""
Small solid models of flat faces, and how they are painted.

A mesh lives in its own coordinates: x to its right, y up from the ground, z ahead, metres. Faces
that look away from the camera are skipped; the rest are painted in the order in which they were
added, which is right for the nearly convex bodies used here. A face with `detail` 1 or 2 is left
out where the object is small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street.camera import NEAR, Points, pixels
from vseg_ros.io.street.painter import Color, Lamp, Painter, fixed_point

LAMP_TINTS = ('headlight', 'taillight')
_DETAIL_HEIGHT = (0.0, 9.0, 30.0)  # pixels of object height from which a detail is painted


@dataclass(frozen=True, eq=False)
class Mesh:
    """
    Faces ready to paint.

    Attributes:
        vertices: float64 [N, 3].
        faces: first corner of each face and the one behind its last.
        normals: float64 [F, 3], unit and outward; zero for a face that is seen from both sides.
        centers: float64 [F, 3].
        tints: name of each face's colour.
        details: 0 for a face of the silhouette, 1 or 2 for decoration.
        lamps: bool [F], faces that shine.

    """

    vertices: Points
    faces: tuple[tuple[int, int], ...]
    normals: Points
    centers: Points
    tints: tuple[str, ...]
    details: tuple[int, ...]
    lamps: NDArray[np.bool_]

    def albedo(self, colors: Mapping[str, Color]) -> Points:
        """Return the colour of every face, float64 [F, 3], from the colour of every tint."""
        return np.array([colors[tint] for tint in self.tints], float)


class MeshBuilder:
    """Collects faces."""

    def __init__(self) -> None:
        self._polygons: list[Points] = []
        self._normals: list[Points] = []
        self._tints: list[str] = []
        self._details: list[int] = []

    def face(self, corners: Sequence[Sequence[float]] | Points, tint: str, inside: Points | None,
             detail: int = 0) -> None:
        """Add a face that looks away from `inside` (None: it is seen from both sides)."""
        points = np.asarray(corners, float)
        normal = np.zeros(3)
        if inside is not None:
            following = np.roll(points, -1, axis=0)
            normal = np.cross(points, following).sum(axis=0)
            normal /= np.linalg.norm(normal) + 1e-12
            if normal @ (points.mean(axis=0) - inside) < 0:
                normal = -normal
        self._polygons.append(points)
        self._normals.append(normal)
        self._tints.append(tint)
        self._details.append(detail)

    def box(self, low: Sequence[float], high: Sequence[float], tint: str,
            detail: int = 0) -> None:
        """Add a box between two corners, without its bottom."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        middle = (np.asarray(low, float) + np.asarray(high, float)) / 2
        for corners in (((x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)),
                        ((x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)),
                        ((x0, y0, z0), (x0, y0, z1), (x0, y1, z1), (x0, y1, z0)),
                        ((x1, y0, z0), (x1, y0, z1), (x1, y1, z1), (x1, y1, z0)),
                        ((x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1))):
            self.face(corners, tint, middle, detail)

    def prism(self, profile: Sequence[tuple[float, float, float]], tints: Sequence[str],
              side: str) -> None:
        """
        Add a body with a given side view.

        Args:
            profile: z, y and half width of each corner, once around.
            tints: colour of the strip from each corner to the next; '' leaves it out.
            side: colour of both sides.

        """
        ring = np.array([(half, y, z) for z, y, half in profile], float)
        mirrored = ring * (-1, 1, 1)
        middle = np.concatenate([ring, mirrored]).mean(axis=0)
        self.face(ring, side, middle * (0, 1, 1))
        self.face(mirrored, side, middle * (0, 1, 1))
        for index, tint in enumerate(tints):
            following = (index + 1) % len(ring)
            if tint:
                self.face([mirrored[index], ring[index], ring[following], mirrored[following]],
                          tint, middle)

    def wheel(self, z: float, half_width: float, radius: float) -> None:
        """Add a pair of wheels: blocks below the body and discs on its sides."""
        for sign in (-1.0, 1.0):
            x0, x1 = sorted((sign * half_width, sign * (half_width - 0.2)))
            self.box((x0, 0.0, z - radius), (x1, radius * 1.3, z + radius), 'tyre')

    def wheel_discs(self, z: float, half_width: float, radius: float) -> None:
        """Add the outer sides of a pair of wheels; call it after the body."""
        angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        circle = np.stack([np.zeros(12), np.sin(angles), np.cos(angles)], axis=1)
        for sign in (-1.0, 1.0):
            middle = np.array([sign * (half_width + 0.01), radius, z])
            inside = middle * (0, 1, 1)
            self.face(middle + circle * radius, 'tyre', inside)
            self.face(middle + circle * radius * 0.58, 'hub', inside, 2)

    def build(self) -> Mesh:
        """Put the faces together."""
        ends = np.cumsum([len(polygon) for polygon in self._polygons]).tolist()
        faces = tuple(zip([0, *ends[:-1]], ends, strict=True))
        return Mesh(np.concatenate(self._polygons), faces, np.array(self._normals),
                    np.array([polygon.mean(axis=0) for polygon in self._polygons]),
                    tuple(self._tints), tuple(self._details),
                    np.array([tint in LAMP_TINTS for tint in self._tints]))


def patch(corners: Sequence[Points], left: float, right: float, bottom: float,
          top: float) -> Points:
    """Cut a part, in shares of width and height, out of a quad (its corners once around)."""
    a, b, c, d = (np.asarray(corner, float) for corner in corners)
    shares = ((left, bottom), (right, bottom), (right, top), (left, top))
    return np.array([(1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c)
                     for u, v in shares])


def paint_mesh(painter: Painter, mesh: Mesh, position: Points, heading: float, scale: Points,
               albedo: Points, entity: int) -> None:
    """
    Paint a mesh.

    Args:
        painter: the picture in the making.
        mesh: the model.
        position: float64 [3], world point of the model's origin.
        heading: direction of its z axis in radians, to the right of the world's.
        scale: float64 [3], factors of its own axes.
        albedo: float64 [F, 3], the colour of every face.
        entity: number of the object.

    """
    sine, cosine = np.sin(heading), np.cos(heading)
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]]) * scale[:, None]
    camera = painter.camera
    points = camera.to_image(mesh.vertices @ turn + position)
    if points[:, 2].max() < NEAR:
        return
    whole = points[:, 2].min() >= NEAR
    details = 3
    fixed = np.empty((0, 2), np.int32)
    if whole:
        positions = pixels(points)
        low, high = positions.min(axis=0).tolist(), positions.max(axis=0).tolist()
        if min(high) < 0 or low[0] > camera.size[1] or low[1] > camera.size[0]:
            return
        details = sum(high[1] - low[1] >= least for least in _DETAIL_HEIGHT)
        fixed = fixed_point(positions)
    normals = mesh.normals @ (turn / scale[:, None])
    toward = mesh.centers @ turn + position - camera.position
    visible = (toward * normals).sum(axis=1) <= 0
    conditions = painter.conditions
    shares = np.maximum(normals @ conditions.sun_direction, 0.0)
    gains = conditions.ambient * (0.82 + 0.18 * normals[:, 1:2]) + shares[:, None] * conditions.sun
    lamps = mesh.lamps
    gains[lamps] = np.maximum(gains[lamps], 0.75)
    painted = np.minimum(albedo * gains, 255.0).tolist()
    dark = whole and conditions.lighting != 'day'
    for index in np.flatnonzero(visible).tolist():
        detail = mesh.details[index]
        if detail >= details:
            continue
        target = entity if detail == 0 else None
        start, end = mesh.faces[index]
        if whole:
            painter.fill(fixed[start:end], painted[index], target)
        else:
            painter.fill_clipped(points[start:end], painted[index], target)
        if dark and lamps[index]:
            column, row = positions[start:end].mean(axis=0)
            size = 0.35 if mesh.tints[index] == 'headlight' else 0.16
            radius = size * camera.focal / points[start:end, 2].mean()
            red, green, blue = albedo[index].tolist()
            painter.lamps.append(Lamp(column, row, radius, (red, green, blue), entity))
