"""
cIoU and gIoU of referring segmentation in images (RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO).

cIoU (also oIoU) is the sum of all intersections over the sum of all unions, so that large objects
weigh more; gIoU (also mIoU) is the mean of the samples' own IoU.

Sentences of gRefCOCO may have no target. By its convention a sample without one counts 1 in gIoU
if the answer is empty, else 0; in cIoU what was wrongly marked adds to the union, and an empty
answer adds nothing. A sample whose target is missed counts 0, its target adds to the union.
"""

from __future__ import annotations

import math

import numpy as np

from vseg_ros.frame import BoolArray


class ImageIou:
    """Sums over samples: `add` each, then read `ciou` and `giou`."""

    def __init__(self) -> None:
        self.samples = 0
        self._intersection = 0
        self._union = 0
        self._iou = 0.0

    def add(self, predicted: BoolArray, truth: BoolArray) -> None:
        """
        Add one sample.

        Args:
            predicted: bool [H, W], or [1, H, W].
            truth: of the same shape.

        Raises:
            ValueError: the shapes differ.

        """
        if predicted.shape != truth.shape:
            raise ValueError(f'masks of shapes {predicted.shape} and {truth.shape} cannot be '
                             'compared')
        intersection = int(np.count_nonzero(predicted & truth))
        union = int(np.count_nonzero(predicted | truth))
        self.samples += 1
        self._intersection += intersection
        self._union += union
        self._iou += intersection / union if union else 1.0

    @property
    def ciou(self) -> float:
        """Cumulative IoU, 0..1; NaN without samples, 1 if every mask was empty."""
        if not self.samples:
            return math.nan
        return self._intersection / self._union if self._union else 1.0

    @property
    def giou(self) -> float:
        """Mean IoU of the samples, 0..1; NaN without samples."""
        return self._iou / self.samples if self.samples else math.nan
