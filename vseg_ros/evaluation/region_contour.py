"""
Region similarity J and contour accuracy F, the measures of DAVIS-2017, equal to its own code.

J is the intersection of two masks over their union. F compares their contours: a contour pixel
counts as found if the other contour passes within 0.8 % of the image's diagonal of it; F is the
harmonic mean of the shares found on either side (precision and recall). Where both masks are
empty, both measures are 1: nothing was to be found, and nothing was.

Of a track, the mean over all its frames is taken, the first and the last included. (The
semi-supervised DAVIS task leaves those two out, because it gives the first mask away. Referring
data sets give nothing away.) Pixels that must not count are cleared in both masks beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from vseg_ros.frame import BoolArray, UInt8Array

TOLERANCE = 0.008
"""How far apart contours may run and still agree, as a share of the image's diagonal."""


@dataclass(frozen=True)
class RegionContour:
    """
    Both measures of one mask or track.

    Attributes:
        j: region similarity, 0..1.
        f: contour accuracy, 0..1.

    """

    j: float
    f: float

    @property
    def jf(self) -> float:
        """J&F, the mean of the two."""
        return (self.j + self.f) / 2


def score_masks(predicted: BoolArray, truth: BoolArray) -> RegionContour:
    """
    Score a mask or a track by both measures.

    Args:
        predicted: bool [H, W], or [T, H, W] for a track.
        truth: of the same shape.

    Raises:
        ValueError: no masks, or of different shapes.

    """
    return RegionContour(region_similarity(predicted, truth), contour_accuracy(predicted, truth))


def region_similarity(predicted: BoolArray, truth: BoolArray) -> float:
    """
    Return J, 0..1, of masks [H, W], or its mean over the frames of tracks [T, H, W].

    Raises:
        ValueError: as `score_masks`.

    """
    return _mean_over_frames(predicted, truth, _mask_similarity)


def contour_accuracy(predicted: BoolArray, truth: BoolArray) -> float:
    """
    Return F, 0..1, of masks [H, W], or its mean over the frames of tracks [T, H, W].

    Raises:
        ValueError: as `score_masks`.

    """
    return _mean_over_frames(predicted, truth, _mask_accuracy)


def contour(mask: BoolArray) -> BoolArray:
    """
    Return the contour of a mask as DAVIS draws it, one pixel wide.

    A pixel belongs to it if it differs from its neighbour to the right, below, or below right; in
    the last row and column only from the neighbour there is.

    Args:
        mask: bool [H, W].

    Returns:
        bool [H, W].

    """
    edges = np.zeros_like(mask)
    edges[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edges[:-1] |= mask[:-1] ^ mask[1:]
    edges[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edges


def _mask_similarity(predicted: BoolArray, truth: BoolArray) -> float:
    union = np.count_nonzero(predicted | truth)
    return np.count_nonzero(predicted & truth) / union if union else 1.0


def _mask_accuracy(predicted: BoolArray, truth: BoolArray) -> float:
    drawn, wanted = contour(predicted), contour(truth)
    if not drawn.any() or not wanted.any():
        return float(drawn.any() == wanted.any())
    radius = math.ceil(TOLERANCE * float(np.linalg.norm(truth.shape)))
    # Contour pixels are all that is looked at: a crop to them gives the same counts sooner.
    crop = _bounding_box(drawn | wanted)
    drawn, wanted = drawn[crop], wanted[crop]
    precision = _share_near(drawn, wanted, radius)
    recall = _share_near(wanted, drawn, radius)
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def _share_near(pixels: BoolArray, others: BoolArray, radius: int) -> float:
    """Return the share of `pixels` with one of `others` within `radius`; there are some."""
    near = cv2.dilate(others.view(np.uint8), _disk(radius))
    return np.count_nonzero(pixels & (near > 0)) / np.count_nonzero(pixels)


@lru_cache(maxsize=16)
def _disk(radius: int) -> UInt8Array:
    """Return 1 within `radius` of the middle of a square of 2 `radius` + 1 pixels."""
    place = np.arange(-radius, radius + 1)
    return (place[:, None] ** 2 + place ** 2 <= radius ** 2).astype(np.uint8)


def _bounding_box(mask: BoolArray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _mean_over_frames(predicted: BoolArray, truth: BoolArray,
                      measure: Callable[[BoolArray, BoolArray], float]) -> float:
    if predicted.shape != truth.shape or predicted.ndim not in (2, 3) or not predicted.size:
        raise ValueError(f'masks of shapes {predicted.shape} and {truth.shape} cannot be '
                         'compared: both are [H, W] or both [T, H, W]')
    height, width = predicted.shape[-2:]
    frames = zip(predicted.reshape(-1, height, width),
                 truth.reshape(-1, height, width), strict=True)
    return float(np.mean([measure(mask, wanted) for mask, wanted in frames]))
