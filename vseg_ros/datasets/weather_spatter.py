"""
Spatter: drops of water, or from severity 4 on of mud, on the lens.

Where smoothed normal noise is high, there is liquid. Water is pale turquoise light, brightest
inside a drop and shaded on one side, as a lens of water is; mud is brown and hides what is
behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from vseg_ros.frame import Float32Array, UInt8Array


class _Spatter(NamedTuple):
    """
    What a severity means.

    Attributes:
        mean: of the noise.
        deviation: of the noise.
        size: deviation of the Gaussian that smooths the noise, in pixels.
        threshold: noise from here on is liquid.
        strength: of water, the weight of its light; of mud, the deviation of the Gaussian that
            rounds its spots, in pixels.
        mud: whether the liquid is mud.

    """

    mean: float
    deviation: float
    size: float
    threshold: float
    strength: float
    mud: bool


_PARAMETERS = (
    _Spatter(0.65, 0.3, 4, 0.69, 0.6, False),
    _Spatter(0.65, 0.3, 3, 0.68, 0.6, False),
    _Spatter(0.65, 0.3, 2, 0.68, 0.5, False),
    _Spatter(0.65, 0.3, 1, 0.65, 1.5, True),
    _Spatter(0.67, 0.4, 1, 0.65, 1.5, True),
)
_WATER = np.array((175, 238, 238), np.float32)
_MUD = np.array((63, 42, 20), np.float32)
_THINNEST_MUD = 0.8
_CANNY = (50, 150)
_RIM = 20  # pixels over which the light changes from the rim of a drop
_SHADE = np.array(((-2, -1, 0), (-1, 1, 1), (0, 1, 2)))


def spatter(image: UInt8Array, severity: int, random: np.random.Generator) -> UInt8Array:
    """
    Spatter water or mud over an image.

    Args:
        image: uint8 [H, W, 3].
        severity: 1 to 5.
        random: draws the noise, one number a pixel.

    Returns:
        uint8 [H, W, 3].

    """
    kind = _PARAMETERS[severity - 1]
    noise = random.standard_normal(image.shape[:2], np.float32) * np.float32(kind.deviation)
    liquid = gaussian(noise + np.float32(kind.mean), kind.size)
    liquid[liquid < kind.threshold] = 0
    if kind.mud:
        cover = mud_cover(liquid, kind)[..., None]
        return (image * (1 - cover) + _MUD * cover).astype(np.uint8)
    light = water_light(liquid, kind.strength)[..., None]
    return np.minimum(image + _WATER * light, 255).astype(np.uint8)


def gaussian(field: Float32Array, sigma: float) -> Float32Array:
    """Smooth float32 [H, W] by a Gaussian cut off at 4 sigma, the edge continued outwards."""
    side = 2 * int(4 * sigma + 0.5) + 1
    smooth = cv2.GaussianBlur(field, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth, np.float32)


def mud_cover(liquid: Float32Array, kind: _Spatter) -> Float32Array:
    """
    Round the spots of mud and leave out what is thin.

    Args:
        liquid: float32 [H, W], 0 where there is none.
        kind: gives threshold and roundness.

    Returns:
        float32 [H, W], how far mud hides a pixel: 0, or 0.8..1.

    """
    cover = gaussian((liquid > kind.threshold).astype(np.float32), kind.strength)
    cover[cover < _THINNEST_MUD] = 0
    return cover


def water_light(liquid: Float32Array, strength: float) -> Float32Array:
    """
    Shade drops by the distance from their rims.

    Args:
        liquid: float32 [H, W], 0 where there is none.
        strength: the brightest value.

    Returns:
        float32 [H, W], 0..strength; all 0 where no drop has light.

    """
    drops = (liquid * 255).astype(np.uint8)
    off_rim = np.asarray(255 - cv2.Canny(drops, *_CANNY), np.uint8)
    distance = np.minimum(cv2.distanceTransform(off_rim, cv2.DIST_L2, 5), _RIM)
    even = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    shaded = cv2.blur(cv2.filter2D(even, cv2.CV_8U, _SHADE), (3, 3))
    light: Float32Array = np.multiply(drops, shaded, dtype=np.float32)
    brightest = light.max()
    if brightest:
        light *= np.float32(strength / brightest)
    return light
