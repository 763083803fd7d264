"""
Snow: flakes that fall past the camera, and the pale light of a snowy day.

Flakes are the peaks of a field of normal noise, enlarged and smeared along the direction of the
fall. The same flakes, turned by half a turn, make a second layer. Below them the image loses
colour and dark tones.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from vseg_ros.frame import Float32Array, UInt8Array


class _Snow(NamedTuple):
    """
    What a severity means.

    Attributes:
        mean: of the noise.
        deviation: of the noise.
        zoom: how far the noise is enlarged.
        threshold: noise below it is no flake.
        radius: length of the smear is 2 radius + 1 pixels.
        sigma: along the smear a flake fades as a Gaussian of this deviation, in pixels.
        clear: share of the image that keeps its colours, 0..1.

    """

    mean: float
    deviation: float
    zoom: float
    threshold: float
    radius: int
    sigma: float
    clear: float


_PARAMETERS = (
    _Snow(0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    _Snow(0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    _Snow(0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    _Snow(0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    _Snow(0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
_FALL = (-135, -45)  # degrees; -90 is straight down


def snow(image: UInt8Array, severity: int, random: np.random.Generator) -> UInt8Array:
    """
    Let snow fall over an image.

    Args:
        image: uint8 [H, W, 3].
        severity: 1 to 5.
        random: draws the flakes, then the angle of their fall.

    Returns:
        uint8 [H, W, 3].

    """
    kind = _PARAMETERS[severity - 1]
    height, width = image.shape[:2]
    noise = enlarged_noise((height, width), kind, random)
    flakes = np.where(noise < kind.threshold, 0, np.clip(noise, 0, 1)).astype(np.float32)
    flakes = smear(flakes, kind.radius, kind.sigma, random.uniform(*_FALL))[:height, :width]
    flakes = np.rint(flakes * 255)
    clear = image.astype(np.float32)
    pale = cv2.cvtColor(clear, cv2.COLOR_RGB2GRAY) * np.float32(1.5) + np.float32(127.5)
    snowy = np.maximum(clear, pale[..., None])
    snowy *= np.float32(1 - kind.clear)
    snowy += np.float32(kind.clear) * clear
    snowy += (flakes + flakes[::-1, ::-1])[..., None]
    return np.asarray(np.minimum(snowy, 255), np.uint8)


def enlarged_noise(size: tuple[int, int], kind: _Snow,
                   random: np.random.Generator) -> Float32Array:
    """
    Draw normal noise and enlarge it linearly, corner to corner.

    Args:
        size: height and width of the image.
        kind: gives mean, deviation and zoom.
        random: draws one number a cell of the small field.

    Returns:
        float32, `size` or up to `kind.zoom` pixels larger on a side.

    """
    cells = [int(np.ceil(length / kind.zoom)) for length in size]
    noise = random.standard_normal(cells, np.float32) * np.float32(kind.deviation)
    noise += np.float32(kind.mean)
    for axis, count in enumerate(cells):
        noise = _stretch(noise, axis, round(count * kind.zoom))
    return noise


def _stretch(field: Float32Array, axis: int, length: int) -> Float32Array:
    """Interpolate linearly along an axis so that first and last values stay at the ends."""
    places = np.linspace(0, field.shape[axis] - 1, length, dtype=np.float32)
    before = places.astype(int)
    after = np.minimum(before + 1, field.shape[axis] - 1)
    share = np.expand_dims(places - before, 1 - axis)
    first = field.take(before, axis)
    stretched: Float32Array = first + share * (field.take(after, axis) - first)
    return stretched


def smear(layer: Float32Array, radius: int, sigma: float, angle: float) -> Float32Array:
    """
    Blur to one side along a line, with the layer's edge continued outwards.

    Args:
        layer: float32 [H, W].
        radius: the line has 2 radius + 1 pixels.
        sigma: deviation of the half Gaussian along the line, in pixels.
        angle: degrees; 0 draws every pixel to the left, -90 down.

    Returns:
        float32 [H, W].

    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-steps**2 / (2 * sigma**2))
    weights /= weights.sum()
    direction = np.deg2rad(angle)
    down = -np.ceil(steps * np.sin(direction) - 0.5).astype(int)
    right = -np.ceil(steps * np.cos(direction) - 0.5).astype(int)
    reach = 2 * radius
    padded = cv2.copyMakeBorder(layer, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    height, width = layer.shape
    smeared = np.zeros_like(layer)
    for weight, dy, dx in zip(weights, down, right, strict=True):
        moved = padded[reach - dy:reach - dy + height, reach - dx:reach - dx + width]
        cv2.scaleAdd(moved, weight, smeared, dst=smeared)
    return smeared
