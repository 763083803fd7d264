"""
Textures that all streets share: noise, ground, brickwork, railings, foliage and clouds.

They are made once a process from fixed seeds; a street picks from them and tints them. Each is a
`Texture`, a pyramid of halved pictures, so that distant surfaces do not sparkle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Float = NDArray[np.float32]


def as_image(array: NDArray[Any]) -> Image:
    """Give what OpenCV made from bytes its type back."""
    return cast(Image, array)


@dataclass(frozen=True, eq=False)
class Texture:
    """
    A picture at falling sizes.

    Attributes:
        levels: uint8 [H, W, 3] each, RGB, halved from level to level.
        alpha: uint8 [H, W] each, 255 where the surface hides what is behind it; () if solid.
        outline: uint8 [H, W] each, 255 where a pixel belongs to the object's label; () if solid.
        glow: uint8 [H, W, 3] each, light that the surface gives at night; () if none.

    """

    levels: tuple[Image, ...]
    alpha: tuple[Image, ...] = ()
    outline: tuple[Image, ...] = ()
    glow: tuple[Image, ...] = ()

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean colour, float64 [3]."""
        result: NDArray[np.float64] = self.levels[-1].mean(axis=(0, 1))
        return result


def pyramid(image: NDArray[np.generic], smallest: int = 12) -> tuple[Image, ...]:
    """Halve a picture until a side gets below `smallest` pixels."""
    levels = [np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8))]
    while min(levels[-1].shape[:2]) >= 2 * smallest:
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2),
                                 interpolation=cv2.INTER_AREA))
    return tuple(levels)


def noise(rng: np.random.Generator, size: int, cells: tuple[int, ...]) -> Float:
    """
    Make tileable noise as a sum of octaves.

    Args:
        rng: source of the noise.
        size: side in pixels.
        cells: grid cells a side of each octave; an octave's weight falls with its place.

    Returns:
        float32 [size, size], zero mean, unit standard deviation.

    """
    total = np.zeros((size, size), np.float32)
    for place, count in enumerate(cells):
        grid = rng.normal(0, 1, (count, count)).astype(np.float32)
        margin = min(2, count)
        padded = np.pad(grid, margin, mode='wrap')
        scale = size / count
        matrix = np.array([[1 / scale, 0, margin], [0, 1 / scale, margin]], np.float64)
        octave = cv2.warpAffine(padded, matrix, (size, size),
                                flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        total += octave * np.float32(0.7 ** place)
    total -= total.mean()
    unit: Float = (total / total.std()).astype(np.float32)
    return unit


GROUND_TILE = 16.0  # metres after which the fine tiles repeat
COARSE_TILE = 160.0


def _repeated(tile: Float) -> Image:
    """Round a tile to bytes and lay it three times in both directions."""
    return np.tile(np.clip(tile, 0, 255).astype(np.uint8), (3, 3))


@lru_cache(maxsize=1)
def asphalt() -> Image:
    """Make a tile of asphalt, uint8 [3072, 3072] around 128: grain, patches, cracks and stains."""
    rng = np.random.default_rng(11)
    tile = 128 + 9 * noise(rng, 1024, (512, 256)) + 7 * noise(rng, 1024, (4, 9, 24))
    tile += 5 * noise(rng, 1024, (1024,))
    for _ in range(5):
        left, top = rng.integers(0, 800, 2)
        width, height = rng.integers(60, 220, 2)
        tile[top:top + height, left:left + width] += rng.uniform(-16, 9)
    for _ in range(7):
        steps = rng.normal(0, 9, (14, 2)) + rng.normal(0, 12, 2)
        line = rng.integers(0, 1024, 2) + np.cumsum(steps, axis=0)
        cv2.polylines(tile, [line.astype(np.int32)], False, float(rng.uniform(85, 105)),
                      int(rng.integers(1, 4)), cv2.LINE_AA)
    for _ in range(2):
        middle = tuple(int(value) for value in rng.integers(60, 960, 2))
        cv2.circle(tile, middle, 19, 92.0, -1, cv2.LINE_AA)
        cv2.circle(tile, middle, 15, 112.0, 2, cv2.LINE_AA)
    return _repeated(tile)


@lru_cache(maxsize=1)
def paving() -> Image:
    """Make a tile of paving slabs, uint8 [3072, 3072] around 128."""
    rng = np.random.default_rng(12)
    tile = 128 + 7 * noise(rng, 1024, (256, 128)) + 7 * noise(rng, 1024, (5, 12))
    slabs = rng.normal(0, 7, (32, 20)).astype(np.float32)
    tile += cv2.resize(slabs, (1024, 1024), interpolation=cv2.INTER_NEAREST)
    tile[::32] -= 26
    for row in range(32):
        tile[row * 32:row * 32 + 32, (row % 2) * 25::51] -= 22
    return _repeated(tile)


@lru_cache(maxsize=1)
def coarse_ground() -> Image:
    """Make a tile of large stains and wear, uint8 [1536, 1536] around 128."""
    rng = np.random.default_rng(13)
    tile = 128 + 10 * noise(rng, 512, (6, 16, 48, 128))
    return _repeated(tile)


@lru_cache(maxsize=1)
def clouds() -> Float:
    """Make a tile of clouds, float32 [512, 512] in 0..1."""
    rng = np.random.default_rng(14)
    field = noise(rng, 512, (3, 6, 13, 28, 60, 120))
    squeezed = cv2.resize(field, (512, 256), interpolation=cv2.INTER_AREA)
    cover: Float = np.clip(np.vstack([squeezed, squeezed]) * 0.45 + 0.4, 0, 1)
    return cover


@lru_cache(maxsize=1)
def brickwork() -> tuple[Texture, ...]:
    """Make walls: brick, render and rubble, each 4 m by 2 m."""
    made = []
    for style in range(4):
        rng = np.random.default_rng(20 + style)
        base = np.array([(150, 92, 72), (176, 168, 152), (128, 122, 112), (120, 84, 70)][style])
        stain = 0.08 * noise(rng, 256, (4, 9, 20, 60)) + 0.06 * noise(rng, 256, (128,))
        if style != 1:
            bricks = rng.normal(0, 0.08, (26, 40)).astype(np.float32)
            stain += cv2.resize(bricks, (256, 256), interpolation=cv2.INTER_NEAREST)
            stain[::10] += 0.1
        wall = (base * (1 + stain[:128, :, None]))
        wall[:7] *= 1.12
        wall[-12:] *= 0.75
        made.append(Texture(pyramid(wall)))
    return tuple(made)


@lru_cache(maxsize=1)
def railings() -> tuple[Texture, ...]:
    """Make fences, 4 m wide each: iron railings, pickets, a mesh, panels and a guard rail."""
    made = []
    for style in range(5):
        rng = np.random.default_rng(30 + style)
        color = np.array([(38, 40, 42), (196, 190, 178), (120, 128, 124), (126, 96, 66),
                          (168, 172, 174)][style], np.float32)
        alpha = np.zeros((96, 256), np.uint8)
        if style in (0, 1):
            step, width = ((10, 3), (13, 8))[style]
            for left in range(2, 256, step):
                alpha[6:, left:left + width] = 255
            alpha[14:20] = alpha[76:82] = 255
        elif style == 2:
            for left in range(-96, 256, 9):
                cv2.line(alpha, (left, 0), (left + 96, 96), 255, 2)
                cv2.line(alpha, (left + 96, 0), (left, 96), 255, 2)
            alpha[:, ::64] = alpha[:, 1::64] = alpha[:, 2::64] = 255
            alpha[:5] = 255
        elif style == 3:
            alpha[:] = 255
        else:
            alpha[10:52] = 255
            alpha[:, 20:30] = alpha[:, 148:158] = 255
        shade = 1 + 0.1 * noise(rng, 256, (8, 40, 128))[:96, :, None]
        fence = color * shade
        if style == 3:
            fence[:, ::21] *= 0.6
        if style == 4:
            fence[28:34] *= 0.7
            fence[10:14] *= 1.2
        made.append(Texture(pyramid(fence), pyramid(alpha)))
    return tuple(made)


@lru_cache(maxsize=1)
def hedges() -> tuple[Texture, ...]:
    """Make clipped hedges, 4 m by 2 m."""
    made = []
    for style in range(3):
        rng = np.random.default_rng(40 + style)
        base = np.array([(62, 82, 40), (44, 62, 36), (92, 92, 56)][style], np.float32)
        leaves = 0.3 * noise(rng, 256, (128, 64, 30)) + 0.14 * noise(rng, 256, (6, 14))
        fall = np.linspace(1.25, 0.6, 128, dtype=np.float32)[:, None]
        hedge = base * (np.clip(1 + leaves[:128], 0.25, 1.9) * fall)[..., None]
        alpha = np.full((128, 256), 255, np.uint8)
        ragged = (5 + 3 * noise(rng, 256, (30, 90))[0]).astype(int)
        for column in range(256):
            alpha[:max(0, ragged[column]), column] = 0
        made.append(Texture(pyramid(hedge), pyramid(alpha), pyramid(alpha)))
    return tuple(made)
