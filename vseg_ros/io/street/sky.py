"""Sky with clouds that turn with the camera, and the far end of the view."""

from __future__ import annotations

from math import atan, ceil

import cv2
import numpy as np

from vseg_ros.io.street import textures
from vseg_ros.io.street.layout import stream
from vseg_ros.io.street.painter import Painter

_BUILDING, _VEGETATION, _SKY = 2, 8, 9
_SECTORS = 72
_FAR = 330.0  # metres
_SKY_DEPTH = 70.0  # metres of haze before it


def paint_sky(painter: Painter) -> None:
    """Fill the picture with sky; must be the first to be painted."""
    camera, conditions = painter.camera, painter.conditions
    height, width = camera.size
    painter.entities[:] = painter.entity(_SKY, _SKY_DEPTH)
    bottom = int(np.clip(camera.horizon + 8, 1, height))
    share = np.clip((camera.horizon - np.arange(bottom)) / camera.focal / 0.4, 0, 1)[:, None]
    colors = conditions.sky_bottom * (1 - share) + conditions.sky_top * share
    sky = np.repeat(np.rint(colors).astype(np.uint8)[:, None], width, axis=1)
    if conditions.cloud > 0.05:
        scale = 260 / camera.focal
        matrix = np.array([[scale, 0.0, camera.yaw * 260],
                           [0.0, scale, 60 - camera.horizon * scale]])
        cover = cv2.warpAffine(textures.clouds(), matrix, (width, bottom),
                               flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                               borderMode=cv2.BORDER_WRAP) * np.float32(conditions.cloud)
        clouds = np.empty_like(sky)
        clouds[:] = conditions.cloud_color.astype(np.uint8)
        sky = cv2.blendLinear(sky, clouds, 1 - cover, cover)
    painter.image[:bottom] = sky


def paint_backdrop(painter: Painter, seed: int) -> None:
    """Close the view with distant houses and trees."""
    camera = painter.camera
    rng = stream(seed, 8)
    heights = rng.uniform(8, 30, _SECTORS)
    houses = rng.random(_SECTORS) < 0.5
    shades = rng.uniform(0.7, 1.1, _SECTORS)
    step = 2 * np.pi / _SECTORS
    middle = round(camera.yaw / step)
    around = ceil(atan(0.5 * camera.size[1] / camera.focal) / step) + 1
    for sector in range(middle - around, middle + around + 1):
        index = sector % _SECTORS
        angles = np.linspace(sector * step, (sector + 1) * step, 5)
        ridge = np.full(5, heights[index])
        if not houses[index]:
            ridge = ridge * (0.75, 0.95, 1.0, 0.85, 0.7) * 0.6
        base = np.column_stack([np.sin(angles), np.zeros(5), np.cos(angles)]) * _FAR
        base = base + camera.position * (1, 0, 1)
        top = base + ridge[:, None] * np.array([0.0, 1.0, 0.0])
        color = np.array([124.0, 116, 108] if houses[index] else [72.0, 84, 58])
        entity = painter.entity(_BUILDING if houses[index] else _VEGETATION, _FAR)
        painter.polygon(np.concatenate([base, top[::-1]]), color * shades[index] *
                        painter.light(), entity, convex=False)
