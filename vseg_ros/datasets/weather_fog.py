"""
Fog: a cloudy veil of light, adapted to the brightest value of the image.

The cloud is a plasma fractal by the diamond-square algorithm on a torus: every step doubles the
grid, each new point is the mean of its four neighbours plus chance, and the chance shrinks from
step to step. It is scaled to 0..1, added to the image, and the sum is dimmed so that the
brightest value cannot grow: where the cloud is thick the image fades, elsewhere it darkens.
"""

from __future__ import annotations

import numpy as np

from vseg_ros.frame import Float32Array, UInt8Array

# A severity: weight of the cloud, and what the amplitude of its chance is divided by, squared,
# from one step to the next.
_PARAMETERS = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
_FIRST_AMPLITUDE = np.float32(1)


def fog(image: UInt8Array, severity: int, random: np.random.Generator) -> UInt8Array:
    """
    Lay fog over an image.

    Args:
        image: uint8 [H, W, 3].
        severity: 1 to 5.
        random: draws the cloud.

    Returns:
        uint8 [H, W, 3].

    """
    weight, decay = _PARAMETERS[severity - 1]
    height, width = image.shape[:2]
    side = 1 << max(1, (max(height, width) - 1).bit_length())
    cloud = plasma(side, decay, random)[:height, :width]
    brightest = int(image.max())
    veiled = image + (255 * weight * cloud)[..., None]
    veiled *= np.float32(brightest / (brightest + 255 * weight))
    return np.minimum(veiled, 255, out=veiled).astype(np.uint8)


def plasma(side: int, decay: float, random: np.random.Generator) -> Float32Array:
    """
    Grow a plasma fractal that repeats in both directions.

    Args:
        side: a power of two, at least 2.
        decay: above 1; the larger, the smoother.
        random: draws the chance.

    Returns:
        float32 [side, side] that spans 0..1.

    """
    heights = np.zeros((1, 1), np.float32)
    amplitude = _FIRST_AMPLITUDE
    while len(heights) < side:
        heights = _refine(heights, amplitude, random)
        amplitude /= np.float32(decay**2)
    heights -= heights.min()
    heights /= heights.max()
    return heights


def _refine(coarse: Float32Array, amplitude: np.float32,
            random: np.random.Generator) -> Float32Array:
    """Double a grid: first the centres of its squares, then the middles of its edges."""
    def chance() -> Float32Array:
        return (random.random(coarse.shape, np.float32) * 2 - 1) * amplitude

    right, below = np.roll(coarse, -1, 1), np.roll(coarse, -1, 0)
    fine = np.empty((2 * len(coarse), 2 * len(coarse)), np.float32)
    centres = (coarse + right + below + np.roll(below, -1, 1)) / 4 + chance()
    fine[::2, ::2] = coarse
    fine[1::2, 1::2] = centres
    fine[::2, 1::2] = (coarse + right + centres + np.roll(centres, 1, 0)) / 4 + chance()
    fine[1::2, ::2] = (coarse + below + centres + np.roll(centres, 1, 1)) / 4 + chance()
    return fine
