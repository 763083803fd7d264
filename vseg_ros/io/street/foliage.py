"""Pictures of trees, bare trees and bushes, made once a process from fixed seeds."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.io.street.textures import Float, Texture, noise, pyramid

SIDE = 256


def _crown(rng: np.random.Generator, top: float, bottom: float, narrow: float) -> Float:
    """Return how deep each pixel lies inside a crown of overlapping lobes, > 0 inside."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    depth = np.full((SIDE, SIDE), -1.0, np.float32)
    for _ in range(16):
        height = rng.uniform(0, 1)
        row = top + (bottom - top) * (0.16 + 0.68 * height)
        spread = narrow * (0.35 + 0.65 * np.sin(np.pi * (0.15 + 0.7 * height)))
        column = 0.5 + rng.uniform(-1, 1) * spread * 0.5
        radius = rng.uniform(0.35, 0.6) * min(narrow, bottom - top) * 0.55
        lobe = 1 - np.hypot(rows - row, columns - column) / np.float32(radius)
        np.maximum(depth, lobe, out=depth)
    return depth


def _leafy(rng: np.random.Generator, base: NDArray[np.float64], trunk: bool) -> Texture:
    """Make a leafy tree or, without a trunk, a bush."""
    ragged = noise(rng, SIDE, (128, 64, 30, 14))
    bottom = 0.8 if trunk else 1.0
    depth = _crown(rng, 0.02, bottom, rng.uniform(0.45, 0.78) if trunk else 0.8)
    if not trunk:
        depth[SIDE // 2:] += np.linspace(0, 0.3, SIDE // 2, dtype=np.float32)[:, None]
    inside = depth + 0.12 * ragged
    alpha = np.clip((inside - 0.02) * 2000, 0, 255)
    light = 0.95 + 0.3 * noise(rng, SIDE, (90, 40, 20)) + 0.25 * np.clip(depth, 0, 0.6)
    light += np.linspace(0.25, -0.3, SIDE, dtype=np.float32)[:, None]
    light += np.linspace(0.12, -0.12, SIDE, dtype=np.float32)[None] * rng.choice((-1, 1))
    color = base * np.clip(light, 0.22, 1.9)[..., None]
    if trunk:
        wood = np.zeros((SIDE, SIDE), np.uint8)
        half = rng.uniform(3, 7)
        lean = rng.uniform(-8, 8)
        outline = [(128 - half * 1.3, SIDE), (128 + half * 1.3, SIDE),
                   (128 + half * 0.8 + lean, SIDE * 0.55), (128 - half * 0.8 + lean, SIDE * 0.55)]
        cv2.fillConvexPoly(wood, np.array(outline, np.int32), 255)
        bare = (wood > 0) & (alpha < 128)
        bark = np.array([86, 74, 62]) * (1 + 0.2 * noise(rng, SIDE, (100, 50)))[..., None]
        color[bare] = bark[bare]
        alpha[bare] = 255
    return Texture(pyramid(color), pyramid(alpha), pyramid(alpha))


def _branches(canvas: NDArray[np.uint8], rng: np.random.Generator, start: tuple[float, float],
              angle: float, length: float, width: float) -> None:
    """Draw a branch and, from its end, its smaller branches."""
    end = (start[0] + length * np.sin(angle), start[1] - length * np.cos(angle))
    points = [tuple(round(value * 16) for value in point) for point in (start, end)]
    cv2.line(canvas, points[0], points[1], 255, max(1, round(width)), cv2.LINE_AA, 4)
    if length < 7:
        return
    for _ in range(3 if length > 18 else 2):
        turn = rng.normal(0, 0.5)
        _branches(canvas, rng, end, angle * 0.92 + turn, length * rng.uniform(0.6, 0.85),
                  width * 0.65)


def _bare(rng: np.random.Generator) -> Texture:
    """Make a tree without leaves; its label covers the crown's outline, as data sets do."""
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    _branches(alpha, rng, (SIDE / 2, SIDE - 1.0), rng.normal(0, 0.05), rng.uniform(54, 72),
              rng.uniform(5, 9))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
    outline = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, kernel)
    outline = np.where(outline > 60, 255, 0).astype(np.uint8)
    bark = np.array([rng.uniform(62, 100)] * 3) * np.array([1.05, 0.97, 0.88])
    color = bark * (1 + 0.2 * noise(rng, SIDE, (80, 30)))[..., None]
    return Texture(pyramid(color), pyramid(alpha), pyramid(outline))


@lru_cache(maxsize=1)
def leafy_trees() -> tuple[Texture, ...]:
    """Make ten trees with leaves, from spring green to evergreen and autumn brown."""
    greens = [(84, 98, 58), (70, 84, 50), (54, 66, 42), (98, 102, 64), (42, 54, 38),
              (76, 90, 62), (112, 98, 62), (62, 78, 46), (112, 88, 58), (82, 90, 68)]
    return tuple(_leafy(np.random.default_rng(60 + index), np.array(green, float), trunk=True)
                 for index, green in enumerate(greens))


@lru_cache(maxsize=1)
def bare_trees() -> tuple[Texture, ...]:
    """Make six trees without leaves."""
    return tuple(_bare(np.random.default_rng(80 + index)) for index in range(6))


@lru_cache(maxsize=1)
def bushes() -> tuple[Texture, ...]:
    """Make five bushes."""
    greens = [(78, 96, 48), (58, 76, 42), (96, 98, 60), (92, 66, 50), (66, 88, 52)]
    return tuple(_leafy(np.random.default_rng(90 + index), np.array(green, float), trunk=False)
                 for index, green in enumerate(greens))
