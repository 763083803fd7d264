"""
A pinhole camera on a car's windscreen.

World coordinates are metres: x to the right, y up, z along the street. Camera coordinates are
metres too: x to the right, y down, z into the picture. Everything that is painted is brought to
homogeneous pixels (column times depth, row times depth, depth) first, cut at the near plane there,
and divided by its depth last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
NEAR = 0.5  # metres; nothing nearer is painted


@dataclass(frozen=True, eq=False)
class Camera:
    """
    Where the camera is and how it looks.

    Attributes:
        position: float64 [3], world coordinates.
        rotation: float64 [3, 3]; rows are the camera's right, down and forward axes.
        focal: focal length in pixels.
        center: principal point (column, row) in pixels.
        size: height and width of the picture in pixels.

    """

    position: Points
    rotation: Points
    focal: float
    center: tuple[float, float]
    size: tuple[int, int]

    @classmethod
    def aimed(cls, position: Points, angles: tuple[float, float, float], focal: float,
              size: tuple[int, int]) -> Camera:
        """
        Make a camera from yaw (to the right), pitch (up) and roll, in radians.

        Args:
            position: float64 [3], world coordinates.
            angles: yaw, pitch, roll.
            focal: focal length in pixels.
            size: height and width in pixels.

        """
        yaw, pitch, roll = angles
        sin_yaw, cos_yaw = np.sin(yaw), np.cos(yaw)
        sin_pitch, cos_pitch = np.sin(pitch), np.cos(pitch)
        forward = np.array([sin_yaw * cos_pitch, sin_pitch, cos_yaw * cos_pitch])
        level_right = np.array([cos_yaw, 0.0, -sin_yaw])
        level_down = np.array([sin_yaw * sin_pitch, -cos_pitch, cos_yaw * sin_pitch])
        right = np.cos(roll) * level_right + np.sin(roll) * level_down
        down = np.cos(roll) * level_down - np.sin(roll) * level_right
        height, width = size
        return cls(position, np.stack([right, down, forward]), focal,
                   ((width - 1) / 2, (height - 1) / 2), size)

    @cached_property
    def matrix(self) -> Points:
        """Return the matrix, float64 [3, 3], from world offsets to homogeneous pixels."""
        intrinsics = np.array([[self.focal, 0.0, self.center[0]],
                               [0.0, self.focal, self.center[1]], [0.0, 0.0, 1.0]])
        result: Points = intrinsics @ self.rotation
        return result

    def to_camera(self, points: Points) -> Points:
        """Bring world points, float64 [N, 3], to camera coordinates, float64 [N, 3]."""
        result: Points = (points - self.position) @ self.rotation.T
        return result

    def to_image(self, points: Points) -> Points:
        """
        Bring world points to homogeneous pixels.

        Args:
            points: float64 [N, 3].

        Returns:
            float64 [N, 3]: column times depth, row times depth, and depth in metres.

        """
        result: Points = (points - self.position) @ self.matrix.T
        return result

    def plane_to_image(self, origin: Points, across: Points, down: Points) -> Points:
        """
        Find the homography of a plane.

        Args:
            origin: float64 [3], world point of the plane's coordinates (0, 0).
            across: float64 [3], world vector of one unit of the first coordinate.
            down: float64 [3], world vector of one unit of the second coordinate.

        Returns:
            float64 [3, 3]: (first, second, 1) of the plane -> homogeneous column and row.

        """
        result: Points = self.matrix @ np.stack([across, down, origin - self.position], axis=1)
        return result

    @property
    def yaw(self) -> float:
        """Heading in radians, to the right of the world's z axis."""
        return float(np.arctan2(self.rotation[2, 0], self.rotation[2, 2]))

    @property
    def horizon(self) -> float:
        """Row of the horizon at the middle column."""
        return float(self.center[1] + self.focal * self.rotation[2, 1]
                     / -self.rotation[1, 1])


def pixels(points: Points) -> Points:
    """Divide homogeneous pixels in front of the camera, [N, 3], to columns and rows, [N, 2]."""
    result: Points = points[:, :2] / points[:, 2:]
    return result


def clip_near(points: Points) -> Points:
    """Cut a polygon of homogeneous pixels, [N, 3], at the near plane; it may become empty."""
    depth = [value - NEAR for value in points[:, 2].tolist()]
    if min(depth) >= 0:
        return points
    kept = []
    for index in range(len(points)):
        here, there = depth[index - 1], depth[index]
        if (here < 0) != (there < 0):
            weight = here / (here - there)
            kept.append(points[index - 1] * (1 - weight) + points[index] * weight)
        if there >= 0:
            kept.append(points[index])
    return np.array(kept).reshape(-1, 3)
