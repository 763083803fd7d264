"""
Fronts of buildings, painted once a process from fixed seeds.

A front is a grid of bays and floors with windows, doors, shop fronts and stained walls. A street
picks one for a building, stretches it to the building's size and tints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street.textures import Float, Texture, noise, pyramid

CELL = 64  # pixels a bay and a floor
_WALLS = [(146, 92, 70), (164, 120, 92), (206, 194, 166), (222, 220, 212), (136, 132, 126),
          (188, 170, 136), (104, 78, 64), (176, 150, 118), (92, 90, 92), (196, 180, 160)]
_SIGNS = [(170, 40, 36), (32, 56, 128), (28, 92, 60), (226, 200, 60), (40, 40, 44),
          (232, 230, 224), (214, 110, 34), (96, 44, 104)]


@dataclass(frozen=True, eq=False)
class Facade:
    """
    One front and what fits it.

    Attributes:
        texture: the front, top row first.
        plain: the same wall without openings, for sides.
        floors: storeys in the picture.
        bays: columns of windows in the picture.

    """

    texture: Texture
    plain: Texture
    floors: int
    bays: int


def _wall(rng: np.random.Generator, height: int, width: int) -> Float:
    """Paint a wall of brick, stone or render, float32 [height, width, 3]."""
    base = np.array(_WALLS[rng.integers(len(_WALLS))], np.float32) * rng.uniform(0.8, 1.1)
    stain = 0.07 * noise(rng, 512, (4, 9, 22)) + 0.05 * noise(rng, 512, (60, 200))
    if rng.random() < 0.6:
        bricks = rng.normal(0, 0.07, (128, 64)).astype(np.float32)
        stain += cv2.resize(bricks, (512, 512), interpolation=cv2.INTER_NEAREST)
        stain[::4] += 0.05
    wall: Float = base * (1 + stain[:height, :width, None])
    return wall.astype(np.float32)


def _glass(rng: np.random.Generator, wall: Float, box: tuple[int, int, int, int]) -> None:
    """Paint a pane with a gradient reflection, sometimes with a curtain."""
    left, top, right, bottom = box
    dark = rng.uniform(25, 80) * np.array([0.9, 1.0, 1.1])
    fall = np.linspace(rng.uniform(0.7, 1.9), rng.uniform(0.6, 1.0), bottom - top)
    wall[top:bottom, left:right] = (dark * fall[:, None])[:, None]
    if rng.random() < 0.3:
        cut = top + int((bottom - top) * rng.uniform(0.2, 0.7))
        wall[top:cut, left:right] = rng.uniform(120, 205) * np.array([1.0, 0.98, 0.93])
    if rng.random() < 0.3:
        start = left + int((right - left) * rng.uniform(0, 0.6))
        wall[top:bottom, start:start + 5] += 45


def _window(rng: np.random.Generator, wall: Float, cell: tuple[int, int], size: tuple[int, int],
            frame: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Paint one framed window in the middle of a cell; returns its box."""
    width, height = size
    left, top = cell[0] + (CELL - width) // 2, cell[1] + (CELL - height) // 2
    wall[top - 3:top + height + 3, left - 3:left + width + 3] = frame
    box = (left, top, left + width, top + height)
    _glass(rng, wall, box)
    middle = top + height // 2
    wall[middle - 1:middle + 1, left:left + width] = frame
    if width > 22:
        wall[top:top + height, left + width // 2 - 1:left + width // 2 + 1] = frame
    wall[top + height + 3:top + height + 6, left - 5:left + width + 5] *= 0.6
    return box


def _shop(rng: np.random.Generator, wall: Float, top: int) -> list[tuple[int, int, int, int]]:
    """Paint shop fronts along the ground floor; returns the lit panes."""
    panes = []
    left, width = 0, wall.shape[1]
    while left < width:
        right = min(width, left + CELL * int(rng.integers(1, 3)))
        sign = np.array(_SIGNS[rng.integers(len(_SIGNS))], np.float32)
        wall[top:top + CELL, left:right] = sign * 0.55
        wall[top + 2:top + 15, left + 2:right - 2] = sign
        letters = 255 if sign.mean() < 130 else 30
        for column in range(left + 10, right - 12, 6):
            if rng.random() < 0.75:
                wall[top + 6:top + 11, column:column + 4] = letters
        pane = (left + 4, top + 18, right - 4, top + CELL - 7)
        _glass(rng, wall, pane)
        for _ in range(10):
            column = int(rng.integers(pane[0], pane[2] - 4))
            row = int(rng.integers(pane[1] + 4, pane[3] - 4))
            wall[row:row + int(rng.integers(3, 14)), column:column + int(rng.integers(2, 7))] = \
                rng.uniform(40, 220, 3)
        wall[pane[1]:pane[3], (pane[0] + pane[2]) // 2:(pane[0] + pane[2]) // 2 + 2] = sign * 0.5
        panes.append(pane)
        left = right
    return panes


def _facade(index: int) -> Facade:
    """Paint the front of that number."""
    rng = np.random.default_rng(200 + index)
    floors, bays = int(rng.integers(2, 5)), int(rng.integers(2, 6))
    height, width = floors * CELL, bays * CELL
    wall = _wall(rng, height, width)
    plain = wall.copy()
    glow = np.zeros((height, width, 3), np.float32)
    frame = np.array([225.0, 224, 220]) if rng.random() < 0.65 else rng.uniform(40, 90, 3)
    modern = rng.random() < 0.3
    size = (CELL - 8, 34) if modern else (int(rng.integers(18, 36)), int(rng.integers(30, 46)))
    shop = rng.random() < 0.5
    panes = _shop(rng, wall, height - CELL) if shop else []
    for floor in range(floors - 1 if shop else floors):
        ground = floor == floors - 1
        for bay in range(bays):
            if ground and (bay == bays // 2 or rng.random() < 0.25):
                left, top = bay * CELL + 22, height - 50
                wall[top - 4:, left - 4:left + 24] = frame
                wall[top:, left:left + 20] = rng.uniform(20, 150, 3)
                continue
            panes.append(_window(rng, wall, (bay * CELL, floor * CELL), size, frame))
    wall[:5] = wall[:5] * 0.5 + 90
    wall[-3:] *= 0.5
    if rng.random() < 0.5:
        wall[CELL * (floors - 1) - 4:CELL * (floors - 1)] *= 1.2
    for left, top, right, bottom in panes:
        if rng.random() < 0.35:
            glow[top:bottom, left:right] = np.array([255, 205, 130]) * rng.uniform(0.3, 0.9)
    return Facade(Texture(pyramid(wall), glow=pyramid(glow)), Texture(pyramid(plain)),
                  floors, bays)


@lru_cache(maxsize=1)
def facades() -> tuple[Facade, ...]:
    """Paint the 28 fronts."""
    return tuple(_facade(index) for index in range(28))
