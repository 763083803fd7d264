"""
Frost: a pane of ice in front of the camera, painted afresh for every image.

A pane is grown from three layers: ferns, stems with barbs to both sides that lie over each other
as crystals do on a window; haze, clouds of several sizes where the ice is thick or thin; and
grain. Their sum gets the colour and the contrast of one of the photographs of ice that the
published benchmark lays over its images, drawn anew for each image as there. A large image gets
its pane enlarged, as the benchmark enlarges its photographs.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.frame import Float32Array, UInt8Array


class _Pane(NamedTuple):
    """
    What a photograph of ice looks like in numbers.

    Attributes:
        colour: mean red, green and blue, 0..255.
        deviation: standard deviation of its grey values within a frame.
        haze: share of the variance that clouds have, 0..1.
        grain: share of the variance that grain has, 0..1; ferns have the rest.
        dark: whether ferns are darker than the ice around them.

    """

    colour: tuple[float, float, float]
    deviation: float
    haze: float
    grain: float
    dark: bool = False


# A severity: weight of the image and weight of the pane.
_PARAMETERS = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
_WHITE = _Pane((201, 205, 214), 21, 0.45, 0.05, dark=True)
# The benchmark draws from five files, two of which hold the same photograph.
_PANES = (_Pane((78, 149, 166), 16, 0.5, 0.05), _WHITE, _WHITE,
          _Pane((138, 153, 165), 28, 0.35, 0.35), _Pane((112, 123, 135), 36, 0.4, 0.05))
_GRAIN_SIZE = 0.8  # standard deviation of the Gaussian that smooths grain, in pixels

_LONGEST_SIDE = 640  # of a pane before it is enlarged, in pixels
_FERN_AREA = 400  # pixels a fern
_STEM = (12, 70)  # length of a stem, in pixels
_BARB_SPACING = 3.5  # pixels between two barbs
_MOST_BARBS = int(_STEM[1] / _BARB_SPACING)
_BARB_LENGTH = 0.35  # of the stem, for the first barb; the last has none
_BARB_ANGLE = (35, 60)  # degrees from the stem
_TONES = 12  # brightnesses of ferns
_SUBPIXEL = 4  # bits of a coordinate for cv2's drawing
_CLOUDS = (4, 9, 20, 45)  # cells of the longer side, one cloud layer each


def frost(image: UInt8Array, severity: int, random: np.random.Generator) -> UInt8Array:
    """
    Put a frosted pane before an image.

    Args:
        image: uint8 [H, W, 3].
        severity: 1 to 5.
        random: draws the pane.

    Returns:
        uint8 [H, W, 3].

    """
    of_image, of_pane = _PARAMETERS[severity - 1]
    kind = _PANES[random.integers(len(_PANES))]
    ice = grow_ice((image.shape[0], image.shape[1]), kind, random)
    pane = np.asarray(kind.colour, np.float32) * (
        1 + ice[..., None] * np.float32(kind.deviation / np.mean(kind.colour)))
    frosted = image * np.float32(of_image) + np.float32(of_pane) * np.clip(pane, 0, 255)
    return np.asarray(np.minimum(frosted, 255), np.uint8)


def grow_ice(size: tuple[int, int], kind: _Pane, random: np.random.Generator) -> Float32Array:
    """
    Grow the brightness of a pane.

    Args:
        size: height and width, in pixels.
        kind: says how strong each layer is.
        random: draws all three layers.

    Returns:
        float32 [H, W] of mean 0 and standard deviation 1 (all 0 for a single pixel).

    """
    shrink = min(1.0, _LONGEST_SIDE / max(size))
    small = max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))
    layers = draw_ferns(small, random), draw_clouds(small, random), draw_grain(small, random)
    shares = 1 - kind.haze - kind.grain, kind.haze, kind.grain
    signs = -1 if kind.dark else 1, 1, 1
    ice = np.zeros(small, np.float32)
    for layer, share, sign in zip(layers, shares, signs, strict=True):
        ice += np.float32(sign * share**0.5) * _standard(layer)
    if small != size:
        ice = enlarge(ice, size)
    return _standard(ice)


def _standard(field: Float32Array) -> Float32Array:
    """Shift and scale to mean 0 and standard deviation 1."""
    field = field - field.mean()
    deviation = field.std()
    return field / deviation if deviation else field


def draw_clouds(size: tuple[int, int], random: np.random.Generator) -> Float32Array:
    """Sum smooth noise of several sizes, the larger the stronger; float32 [H, W]."""
    clouds = np.zeros(size, np.float32)
    for cells in _CLOUDS:
        rows, columns = (max(2, round(cells * side / max(size))) for side in size)
        noise = random.standard_normal((rows, columns), np.float32)
        clouds += np.float32(cells**-0.5) * enlarge(noise, size)
    return clouds


def enlarge(field: Float32Array, size: tuple[int, int]) -> Float32Array:
    """Interpolate float32 [h, w] smoothly to [H, W]."""
    return np.asarray(cv2.resize(field, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def draw_grain(size: tuple[int, int], random: np.random.Generator) -> Float32Array:
    """Draw specks; float32 [H, W]."""
    noise = random.standard_normal(size, np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), _GRAIN_SIZE), np.float32)


def draw_ferns(size: tuple[int, int], random: np.random.Generator) -> Float32Array:
    """
    Draw ferns of ice over each other, lit from the upper left.

    Args:
        size: height and width, in pixels.
        random: draws places, directions and lengths.

    Returns:
        float32 [H, W], in no unit.

    """
    count = max(1, size[0] * size[1] // _FERN_AREA)
    lines = fern_lines(size, count, random)
    canvas = np.zeros(size, np.uint8)
    for tone, group in zip(np.linspace(40, 255, _TONES),
                           np.array_split(lines, _TONES), strict=True):
        cv2.polylines(canvas, list(group.reshape(-1, 2, 2)), False, tone, 1, cv2.LINE_AA,
                      _SUBPIXEL)
    height = cv2.GaussianBlur(canvas.astype(np.float32), (3, 3), 0)
    relief = height - np.roll(height, (1, 1), (0, 1))
    relief[0], relief[:, 0] = 0, 0
    return height + 2 * relief


def fern_lines(size: tuple[int, int], count: int,
               random: np.random.Generator) -> NDArray[np.int32]:
    """
    Place ferns.

    Args:
        size: height and width, in pixels.
        count: number of ferns.
        random: draws where they are and how they look.

    Returns:
        int32 [count, lines, 2, 2], the x and y of both ends of each line of each fern, in pixels
        times 2**4. The first line is the stem, the others are barbs; a short fern has barbs of
        no length beyond its tip.

    """
    height, width = size
    root = random.random((count, 2)) * (width, height)
    heading = random.random((count, 1)) * (2 * np.pi)
    length = random.uniform(*_STEM, (count, 1))
    spread = np.deg2rad(random.uniform(*_BARB_ANGLE, (count, 1)))
    along = np.minimum(np.arange(_MOST_BARBS) * _BARB_SPACING, length)
    barb = (length - along) * _BARB_LENGTH * random.uniform(0.6, 1.2, along.shape)
    joint = root[:, None] + along[..., None] * _direction(heading)
    tip = root[:, None] + length[..., None] * _direction(heading)
    lines = [np.stack((root[:, None], tip), 2)]
    for side in (-1, 1):
        end = joint + barb[..., None] * _direction(heading + side * spread)
        lines.append(np.stack((joint, end), 2))
    return np.asarray(np.rint(np.concatenate(lines, 1) * 2**_SUBPIXEL), np.int32)


def _direction(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit vectors (x, y) [..., 2]."""
    return np.stack((np.cos(angle), np.sin(angle)), -1)
