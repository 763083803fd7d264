"""
The class of a tracked mask (DiTTA, Sec. 3.2, Eq. 4; supplement A2.3, Eq. A1 to A4).

For every object and class, summed over the whole warm-up:

    alpha_rel  mean reliability of the pixels in the mask that show the class      (A1)
    gamma_area share of the mask that shows the class                              (A2)
    gamma_freq one minus the share of the class in all pixels of the warm-up       (A3)
    score      alpha_rel * gamma_area ** lambda_area * gamma_freq ** lambda_freq   (A4)

The class with the highest score is the object's. Only sums are kept, so the vote is linear in
pixels and needs no frame twice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vseg_ros.settings import VoteSettings


class ClassVote:
    """
    Votes of all objects of one warm-up.

    Args:
        classes: number of classes.
        settings: the two exponents.

    """

    def __init__(self, classes: int, settings: VoteSettings) -> None:
        self.classes = classes
        self.settings = settings
        self._class_pixels = np.zeros(classes, np.int64)
        self._pixels: dict[int, NDArray[np.int64]] = {}
        self._reliability: dict[int, NDArray[np.float64]] = {}

    def add_frame(self, labels: NDArray[np.integer], reliability: NDArray[np.float32],
                  masks: dict[int, NDArray[np.bool_]]) -> None:
        """
        Count one frame.

        Args:
            labels: integer [H, W], the segmenter's prediction.
            reliability: float32 [H, W], Eq. 2.
            masks: object id -> bool [H, W].

        """
        self._class_pixels += np.bincount(labels.ravel(), minlength=self.classes)[:self.classes]
        for object_id, mask in masks.items():
            shown = labels[mask]
            pixels = np.bincount(shown, minlength=self.classes)[:self.classes]
            sums = np.bincount(shown, reliability[mask], self.classes).astype(np.float64)
            sums = sums[:self.classes]
            self._pixels[object_id] = self._pixels.get(object_id, 0) + pixels
            self._reliability[object_id] = self._reliability.get(object_id, 0) + sums

    def scores(self) -> dict[int, NDArray[np.float64]]:
        """
        Eq. A4 for every object that has pixels.

        Returns:
            object id -> float64 [C], 0..1; zero for a class that the object never shows.

        """
        frequency = 1 - self._class_pixels / max(int(self._class_pixels.sum()), 1)
        result = {}
        for object_id, pixels in self._pixels.items():
            if not pixels.any():
                continue
            reliability = self._reliability[object_id] / np.maximum(pixels, 1)
            area = pixels / pixels.sum()
            result[object_id] = (reliability * area ** self.settings.lambda_area
                                 * frequency ** self.settings.lambda_freq)
        return result
