"""
From the painted scene to a camera's picture: haze, wet ground, falling weather, lens and sensor.

Noise comes from one large tile that is shifted at random for every frame.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street.conditions import Conditions
from vseg_ros.io.street.painter import Lamp
from vseg_ros.io.street.textures import Image, as_image


def add_haze(image: Image, depth: NDArray[np.float32], conditions: Conditions) -> None:
    """
    Mix the haze's colour into a picture, the more the farther a pixel, in place.

    Args:
        image: uint8 [H, W, 3].
        depth: float32 [H, W], metres.
        conditions: the video's look.

    """
    share = cv2.exp(depth * np.float32(-conditions.haze))
    haze = np.empty_like(image)
    haze[:] = conditions.haze_color.astype(np.uint8)
    image[:] = cv2.blendLinear(image, haze, share, 1 - share)


def wet_ground(image: Image, ground: NDArray[np.bool_], horizon: float) -> None:
    """Mirror the scene above the horizon faintly in the ground below it, in place."""
    height, width = ground.shape
    mirror = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 2 * horizon]])
    flipped = cv2.warpAffine(image, mirror, (width, height), borderMode=cv2.BORDER_REPLICATE)
    flipped = cv2.blur(flipped, (3, 15))
    mixed = cv2.addWeighted(image, 0.6, flipped, 0.3, 0.0)
    cv2.copyTo(mixed, ground.view(np.uint8), image)


def snowy_ground(image: Image, ground: NDArray[np.bool_], texture: NDArray[np.float32]) -> None:
    """Whiten the ground where its texture, float32 [H, W] about 1, is bright, in place."""
    share = (np.clip((texture - 0.8) * 2.0, 0.05, 0.85) * ground).astype(np.float32)
    white = np.full_like(image, int(min(255, image.mean() * 1.2 + 70)))
    image[:] = cv2.blendLinear(image, white, 1 - share, share)


def falling(image: Image, weather: str, rng: np.random.Generator) -> None:
    """Draw rain streaks or snow flakes, in place."""
    height, width = image.shape[:2]
    scale = height / 360
    brightness = float(image.mean()) * 0.7 + 70
    layer = np.zeros((height, width), np.uint8)
    slant = rng.normal(0, 2) * scale
    for _ in range(90):
        column, row = rng.uniform(0, width), rng.uniform(0, height)
        if weather == 'rain':
            length = rng.uniform(6, 22) * scale
            ends = (round(column + slant), round(row + length))
            cv2.line(layer, (round(column), round(row)), ends, int(rng.integers(40, 110)), 1)
        else:
            radius = max(1, round(scale * rng.gamma(1.5, 0.8)))
            cv2.circle(layer, (round(column), round(row)), radius,
                       int(rng.integers(90, 220)), -1, cv2.LINE_AA)
    share = cv2.GaussianBlur(layer, (3, 3), 0).astype(np.float32) / 255
    bright = np.full_like(image, int(min(255, brightness)))
    image[:] = cv2.blendLinear(image, bright, 1 - share, share)


@lru_cache(maxsize=4)
def _noise_tile(height: int, width: int) -> Image:
    """Make zero-mean sensor noise around 128 with standard deviation 24, slightly blurred."""
    rng = np.random.default_rng(97)
    coarse = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 3)).astype(np.float32), (3, 3), 0.6)
    tile: Image = np.clip(coarse / coarse.std() * 24 + 128, 0, 255).astype(np.uint8)
    return tile


@lru_cache(maxsize=16)
def _vignette(height: int, width: int, loss: float) -> NDArray[np.float32]:
    """Make the lens's gain for every pixel, float32 [H, W, 3]."""
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
    gain = 1 - loss * (rows ** 2 + columns ** 2) / 2
    return np.repeat(gain[..., None], 3, axis=2)


def _tone_curve(conditions: Conditions) -> Image:
    """Make the table of exposure, colour temperature, contrast and gamma, uint8 [1, 256, 3]."""
    level = np.arange(256)[:, None] / 255 * conditions.gain
    level = np.clip(0.45 + (level - 0.45) * conditions.contrast, 0, 1) ** conditions.gamma
    table: Image = np.rint(level * 255).astype(np.uint8)[None]
    return table


def expose(image: Image, conditions: Conditions, rng: np.random.Generator) -> Image:
    """Send a scene through lens and sensor; returns uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    sigma = conditions.blur * width / 480
    size = 2 * int(np.ceil(2 * sigma)) + 1
    blurred = cv2.GaussianBlur(image, (size, size), sigma)
    seen = cv2.multiply(blurred, _vignette(height, width, conditions.vignette), dtype=cv2.CV_8U)
    toned = cv2.LUT(seen, _tone_curve(conditions))
    tile = _noise_tile(height + 64, width + 64)
    top, left = rng.integers(0, 64, 2)
    noise = tile[top:top + height, left:left + width]
    weight = conditions.noise / 24
    return as_image(cv2.addWeighted(toned, 1.0, noise, weight, -128 * weight))


def add_glow(image: Image, lamps: list[Lamp], conditions: Conditions) -> None:
    """
    Let lamps shine into their surroundings, in place.

    Args:
        image: uint8 [H, W, 3].
        lamps: what shines.
        conditions: the video's look; there is no glow by day.

    """
    if not lamps or conditions.lighting == 'day':
        return
    height, width = image.shape[:2]
    small = np.zeros((height // 4, width // 4, 3), np.uint8)
    strength = 0.9 if conditions.lighting == 'night' else 0.4
    for lamp in lamps:
        level = [min(255.0, value) * strength for value in lamp.color]
        cv2.circle(small, (int(lamp.column / 4), int(lamp.row / 4)),
                   max(1, min(40, int(lamp.radius / 3))), level, -1, cv2.LINE_AA)
    wide = cv2.addWeighted(cv2.blur(small, (5, 5)), 0.8, cv2.blur(small, (19, 19)), 0.8, 0.0)
    image[:] = cv2.add(image, cv2.resize(wide, (width, height)))
