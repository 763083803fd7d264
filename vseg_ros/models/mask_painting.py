"""Overlapping masks of tracked objects as one map of their ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def paint_objects(masks: dict[int, NDArray[np.bool_]], scores: dict[int, float],
                  size: tuple[int, int]) -> NDArray[np.int64]:
    """
    Lay overlapping masks over each other, the lowest score first.

    Args:
        masks: object id -> bool [H, W].
        scores: best score of each object; objects without one are left out.
        size: height and width of the frame.

    Returns:
        int64 [H, W], object ids; 0 is no object.

    """
    painted = np.zeros(size, np.int64)
    for object_id in sorted((i for i in masks if i in scores), key=lambda i: (scores[i], i)):
        painted[masks[object_id]] = object_id
    return painted
