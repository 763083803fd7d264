"""
Brings polygons, textured planes and pictures into the image, far things first.

Beside the image the painter keeps a map of *entities*: every painted object gets a number, and a
table holds the number's class, instance id and depth. Image and map are filled from the same
sub-pixel geometry, so labels are exact. What is only decoration (a window on a wall) is painted
into the image alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log2

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street.camera import NEAR, Camera, Points, clip_near, pixels
from vseg_ros.io.street.conditions import Conditions
from vseg_ros.io.street.textures import Image, Texture, as_image

Color = tuple[float, float, float]
Box = tuple[int, int, int, int]
_SHIFT = 4
_TINY = 4.0  # pixels; a texture that small is painted as its mean colour
_REACH = 15000.0  # pixels; farther vertices are pulled in, well outside any picture


@dataclass(frozen=True)
class Lamp:
    """
    A light that glows.

    Attributes:
        column: of its middle, pixels.
        row: of its middle, pixels.
        radius: pixels.
        color: RGB.
        entity: number of the object that it belongs to.

    """

    column: float
    row: float
    radius: float
    color: Color
    entity: int


class Painter:
    """
    A picture in the making.

    Args:
        camera: where it is seen from.
        conditions: light of the scene.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        entities: uint16 [H, W], numbers of `entity`.
        lamps: every light that glows, hidden ones too.

    """

    def __init__(self, camera: Camera, conditions: Conditions) -> None:
        height, width = camera.size
        self.camera = camera
        self.conditions = conditions
        self.image = np.zeros((height, width, 3), np.uint8)
        self.entities = np.zeros((height, width), np.uint16)
        self.lamps: list[Lamp] = []
        self._labels: list[int] = []
        self._instances: list[int] = []
        self._depths: list[float] = []

    def entity(self, label: int, depth: float, instance: int = 0) -> int:
        """Register an object of a class at a depth in metres (0: take the ground's depth)."""
        self._labels.append(label)
        self._instances.append(instance)
        self._depths.append(depth)
        return len(self._labels) - 1

    @property
    def tables(self) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32]]:
        """Class, instance id and depth of every entity, each [number of entities]."""
        return (np.array(self._labels, np.uint8), np.array(self._instances, np.uint16),
                np.array(self._depths, np.float32))

    def visible_lamps(self) -> list[Lamp]:
        """Return the lamps that nothing hides."""
        height, width = self.camera.size
        return [lamp for lamp in self.lamps
                if 0 <= lamp.column < width - 1 and 0 <= lamp.row < height - 1
                and self.entities[round(lamp.row), round(lamp.column)] == lamp.entity]

    def light(self, normal: Points | None = None) -> Points:
        """Return the gain of light, float64 [3], on a surface (None: on something round)."""
        conditions = self.conditions
        share = 0.5 if normal is None else max(0.0, float(normal @ conditions.sun_direction))
        gain: Points = conditions.ambient + share * conditions.sun
        return gain

    def polygon(self, points: Points, color: Points, entity: int | None,
                convex: bool = True) -> None:
        """Fill a polygon of world points, [N, 3], with a colour (float64 [3], as lit)."""
        seen = clip_near(self.camera.to_image(points))
        if len(seen) >= 3:
            self.fill(fixed_point(pixels(seen)), np.minimum(color, 255.0).tolist(), entity,
                      convex)

    def polygons(self, points: Points, ends: Sequence[int], colors: Points,
                 entity: int | None) -> None:
        """
        Fill many convex polygons.

        Args:
            points: float64 [N, 3], homogeneous pixels of all polygons one after the other.
            ends: index behind the last point of each polygon.
            colors: float64 [number of polygons, 3], as lit.
            entity: number of the object they all belong to, None for decoration.

        """
        depths = points[:, 2]
        whole = bool(depths.min() >= NEAR)
        if depths.max() < NEAR:
            return
        fixed = fixed_point(pixels(points)) if whole else None
        start = 0
        for end, color in zip(ends, np.minimum(colors, 255.0).tolist(), strict=True):
            if fixed is not None:
                self.fill(fixed[start:end], color, entity)
            else:
                self.fill_clipped(points[start:end], color, entity)
            start = end

    def fill_clipped(self, points: Points, color: list[float], entity: int | None) -> None:
        """Fill a convex polygon of homogeneous pixels, [N, 3], that reaches behind the camera."""
        seen = clip_near(points)
        if len(seen) >= 3:
            self.fill(fixed_point(pixels(seen)), color, entity)

    def fill(self, fixed: NDArray[np.int32], color: Color | list[float], entity: int | None,
             convex: bool = True) -> None:
        """Fill a polygon of fixed-point pixels, int32 [N, 2]."""
        if convex:
            cv2.fillConvexPoly(self.image, fixed, color, cv2.LINE_AA, _SHIFT)
            if entity is not None:
                cv2.fillConvexPoly(self.entities, fixed, entity, cv2.LINE_8, _SHIFT)
        else:
            cv2.fillPoly(self.image, [fixed], color, cv2.LINE_AA, _SHIFT)
            if entity is not None:
                cv2.fillPoly(self.entities, [fixed], entity, cv2.LINE_8, _SHIFT)

    def plane(self, texture: Texture, corner: Points, across: Points, down: Points,
              gain: Points, entity: int) -> None:
        """
        Lay a texture over a parallelogram in the world.

        Args:
            texture: what to lay; its alpha lets through what is behind, its glow shows at night.
            corner: float64 [3], world point of the texture's top left corner.
            across: float64 [3], world vector along the texture's whole width.
            down: float64 [3], world vector along the texture's whole height.
            gain: float64 [3], light on it.
            entity: number of the object, given to the whole parallelogram.

        """
        quad = self.camera.to_image(np.array([corner, corner + across, corner + across + down,
                                              corner + down]))
        seen = clip_near(quad)
        if len(seen) < 3:
            return
        outline = pixels(seen)
        low, high = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
        box = self._visible_box(low, high)
        if box is None:
            return
        left, top, right, bottom = box
        extent = (high[0] - low[0], high[1] - low[1])
        if min(extent) < _TINY:
            color = np.minimum(texture.mean * gain, 255.0).tolist()
            self.fill(fixed_point(outline), color, entity)
            return
        height, width = texture.levels[0].shape[:2]
        shrink = log2(max(1.0, height / extent[1])) + log2(max(1.0, width / extent[0]))
        level = min(len(texture.levels) - 1, round(shrink / 2))
        height, width = texture.levels[level].shape[:2]
        to_image = np.array([(quad[1] - quad[0]) / width, (quad[3] - quad[0]) / height, quad[0]]).T
        to_image[0] -= left * to_image[2]
        to_image[1] -= top * to_image[2]
        size = (right - left, bottom - top)

        def warp(picture: Image) -> Image:
            return as_image(cv2.warpPerspective(picture, to_image, size,
                                                borderMode=cv2.BORDER_REPLICATE))

        mask = np.zeros((size[1], size[0]), np.uint8)
        cv2.fillConvexPoly(mask, fixed_point(outline - (left, top)), 255, cv2.LINE_8, _SHIFT)
        label_mask = mask & warp(texture.outline[level]) if texture.outline else mask
        self.entities[top:bottom, left:right][label_mask > 127] = entity
        painted = scaled(warp(texture.levels[level]), gain)
        if texture.glow and self.conditions.lighting == 'night':
            painted = as_image(cv2.add(painted, warp(texture.glow[level])))
        if texture.alpha:
            mask &= warp(texture.alpha[level])
            mask = as_image(cv2.threshold(mask, 110, 255, cv2.THRESH_BINARY)[1])
        cv2.copyTo(painted, mask, self.image[top:bottom, left:right])

    def picture(self, texture: Texture, foot: Points, width: float, height: float,
                gain: Points, entity: int) -> None:
        """Stand a texture upright on a world point, facing the camera; sizes in metres."""
        column, row, depth = self.camera.to_image(foot[None])[0].tolist()
        if depth < 2 * NEAR:
            return
        scale = self.camera.focal / depth
        across, up = width * scale, height * scale
        first, last = column / depth - across / 2, row / depth - up
        box = self._visible_box((first, last), (first + across, last + up))
        if box is None or up < 1:
            return
        left, top, right, bottom = box
        full = texture.levels[0].shape[0]
        level = min(round(log2(max(1.0, full / up))), len(texture.levels) - 1)
        rows, columns = texture.levels[level].shape[:2]
        matrix = np.array([[columns / across, 0, (left - first) * columns / across],
                           [0, rows / up, (top - last) * rows / up]])
        size = (right - left, bottom - top)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        alpha = as_image(cv2.warpAffine(texture.alpha[level], matrix, size, flags=flags))
        outline = alpha if texture.outline is texture.alpha else cv2.warpAffine(
            texture.outline[level], matrix, size, flags=flags)
        self.entities[top:bottom, left:right][outline > 127] = entity
        painted = scaled(as_image(cv2.warpAffine(
            texture.levels[level], matrix, size, flags=flags,
            borderMode=cv2.BORDER_REPLICATE)), gain)
        share = alpha.astype(np.float32) * np.float32(1 / 255)
        region = self.image[top:bottom, left:right]
        region[:] = cv2.blendLinear(painted, np.ascontiguousarray(region), share, 1 - share)

    def _visible_box(self, low: Sequence[float], high: Sequence[float]) -> Box | None:
        """Return the part of the picture between two corners, None if it is empty."""
        height, width = self.camera.size
        left, top = max(0, floor(low[0])), max(0, floor(low[1]))
        right, bottom = min(width, int(high[0]) + 2), min(height, int(high[1]) + 2)
        return (left, top, right, bottom) if left < right and top < bottom else None


def fixed_point(positions: Points) -> NDArray[np.int32]:
    """Turn pixel positions, [N, 2], to the fixed-point numbers that OpenCV fills from."""
    clipped = np.minimum(np.maximum(positions, -_REACH), _REACH)
    result: NDArray[np.int32] = np.rint(clipped * (1 << _SHIFT)).astype(np.int32)
    return result


def scaled(image: Image, gain: Points) -> Image:
    """Multiply a picture, uint8 [H, W, 3], by a gain for each colour."""
    factors = (float(gain[0]), float(gain[1]), float(gain[2]), 0.0)
    return as_image(cv2.multiply(image, factors))  # type: ignore[call-overload]
