"""
Region quality: mIoU, wIoU and the IoU of every class, from a streaming confusion matrix.

A frame adds its pairs of (true class, predicted class) with one `bincount`, so memory is
C x C whatever the length of the video, and matrices of several videos are simply one matrix
fed with all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


class ConfusionMatrix:
    """
    Counts of (true class, predicted class) over any number of frames.

    Pixels whose true id is no class (255 and every other id outside the set) are not counted.
    Pixels whose *prediction* is no class are counted as wrong for their true class and belong
    to no other class.

    Args:
        classes: number of classes C; the class ids are 0..C-1.

    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._counts = np.zeros((classes + 1, classes + 1), np.int64)

    def add(self, predictions: NDArray[np.unsignedinteger],
            labels: NDArray[np.unsignedinteger]) -> None:
        """
        Count one frame.

        Args:
            predictions: unsigned integer [H, W], predicted ids.
            labels: unsigned integer [H, W], true ids.

        Raises:
            ValueError: the two maps differ in size.

        """
        if predictions.shape != labels.shape:
            raise ValueError(f'predictions {list(predictions.shape)} and labels '
                             f'{list(labels.shape)} differ in size')
        side = self._classes + 1
        rows = np.minimum(labels.astype(np.intp), self._classes)
        columns = np.minimum(predictions.astype(np.intp), self._classes)
        pairs = (rows * side + columns).ravel()
        self._counts += np.bincount(pairs, minlength=side * side).reshape(side, side)

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64]) -> ConfusionMatrix:
        """Make the matrix whose `all_counts` are int64 [C + 1, C + 1]."""
        matrix = cls(len(counts) - 1)
        matrix._counts += counts
        return matrix

    @property
    def all_counts(self) -> NDArray[np.int64]:
        """Pixel counts, int64 [C + 1, C + 1]: as `counts`, last row: truth is no class."""
        return self._counts

    @property
    def counts(self) -> NDArray[np.int64]:
        """Pixel counts, int64 [C, C + 1]: a row a true class, last column: no class predicted."""
        return self._counts[:-1]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Classes that the ground truth shows, bool [C]."""
        shown: NDArray[np.bool_] = self.counts.sum(axis=1) > 0
        return shown

    def iou(self) -> Float64Array:
        """Return the IoU of every class, float64 [C] in 0..1, NaN where it never appears."""
        hits = np.diagonal(self.counts).astype(np.float64)
        union = self.counts.sum(axis=1) + self.counts[:, :-1].sum(axis=0) - hits
        iou = np.full(self._classes, np.nan)
        np.divide(hits, union, out=iou, where=union > 0)
        return iou

    def miou(self) -> float:
        """Return the mean IoU over the classes present, 0..1, NaN without a labelled pixel."""
        present = self.present
        return float(self.iou()[present].mean()) if present.any() else float('nan')

    def wiou(self) -> float:
        """Return the IoU weighted by each class's share of the labelled pixels, or NaN."""
        present, pixels = self.present, self.counts.sum(axis=1)
        if not present.any():
            return float('nan')
        return float((pixels[present] / pixels.sum()) @ self.iou()[present])
