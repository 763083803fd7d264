"""
Objects of a label map, for zero-shot refinement (DiTTA, Sec. 5.3).

An object is an 8-connected component of one class that covers at least 0.05 % of the image. Its
score is the highest confidence of its pixels; where tracked objects overlap, the higher score
is painted over the lower one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.frame import BoolArray, Float32Array
from vseg_ros.models.mask_painting import paint_objects

NO_OBJECT = -1


@dataclass(frozen=True, eq=False)
class DetectedObject:
    """
    One component of a label map.

    Attributes:
        label: its class.
        score: highest confidence of its pixels, 0..1.
        mask: bool [H, W].

    """

    label: int
    score: float
    mask: BoolArray


def detect_objects(labels: NDArray[np.integer], confidence: Float32Array,
                   min_area: float) -> list[DetectedObject]:
    """
    Cut a label map into objects.

    Args:
        labels: integer [H, W].
        confidence: float32 [H, W], 0..1.
        min_area: least area of an object, as a share of the image; smaller ones are left out.

    Returns:
        the objects, class by class.

    """
    objects = []
    for label in np.unique(labels):
        region = (labels == label).astype(np.uint8)
        count, components, statistics, _ = cv2.connectedComponentsWithStats(region, connectivity=8)
        for component in range(1, count):
            if statistics[component, cv2.CC_STAT_AREA] >= min_area * labels.size:
                mask: BoolArray = components == component
                objects.append(DetectedObject(int(label), float(confidence[mask].max()), mask))
    return objects


def paint_classes(masks: Mapping[int, BoolArray], objects: Mapping[int, DetectedObject],
                  size: tuple[int, int]) -> NDArray[np.int64]:
    """
    Lay tracked masks over each other, the lowest score first.

    Args:
        masks: object id, 1 or more -> bool [H, W].
        objects: the objects by id, for class and score.
        size: height and width of the frame.

    Returns:
        int64 [H, W], the class of the topmost mask; `NO_OBJECT` where there is none.

    """
    painted = paint_objects(dict(masks), {key: value.score for key, value in objects.items()},
                            size)
    classes = np.full(max(objects, default=0) + 1, NO_OBJECT, np.int64)
    for key, value in objects.items():
        classes[key] = value.label
    return np.asarray(classes[painted], np.int64)
