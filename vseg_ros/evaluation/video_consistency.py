"""Video consistency in the form that the labels of each video allow: dense or sparse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from vseg_ros.evaluation.consistency import VideoConsistency
from vseg_ros.evaluation.sparse_consistency import SparseConsistency
from vseg_ros.evaluation.windows import WindowMean
from vseg_ros.frame import LabelArray, UInt8Array

ConsistencyForm = Literal['dense', 'sparse', 'mixed']
"""How mVC was measured: from every frame's labels, from a few frames', or some videos each way."""

WINDOWS = (8, 16)


class LabelledConsistency:
    """
    mVC8 and mVC16 over any number of videos, some labelled in every frame and some not.

    A video whose every frame is labelled is scored by `VideoConsistency`, one with labels in only
    some of its frames by `SparseConsistency`. Which of them it is shows at its end, so both
    count along until the first frame without labels.

    Args:
        classes: number of classes; a label that is not below it is unlabelled.

    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._mean = WindowMean(WINDOWS)
        self._forms: set[ConsistencyForm] = set()
        self._start_video()

    def _start_video(self) -> None:
        self._dense: VideoConsistency | None = VideoConsistency(WINDOWS)
        self._sparse = SparseConsistency(self._classes, WINDOWS)
        self._labelled = 0

    def add(self, image: UInt8Array, predictions: LabelArray, labels: LabelArray | None) -> None:
        """
        Count the next frame of the video.

        Args:
            image: uint8 [H, W, 3], RGB.
            predictions: uint8 or uint16 [H, W], predicted ids.
            labels: uint8 or uint16 [H, W], true ids, or None for a frame without.

        Raises:
            ValueError: the maps differ in size.

        """
        if labels is None:
            self._dense = None
        elif self._dense is not None:
            self._dense.add(predictions, labels)
        self._labelled += labels is not None
        self._sparse.add(image, predictions, labels)

    def end_video(self) -> None:
        """Close the video: count its windows in the form that its labels allow."""
        if self._labelled:
            self._forms.add('sparse' if self._dense is None else 'dense')
            self._mean.include((self._dense or self._sparse).mean)
        self._start_video()

    @property
    def mean(self) -> WindowMean:
        """The windows of all closed videos."""
        return self._mean

    def score(self, window: int) -> float:
        """Return mVC_n of all closed videos, n = 8 or 16: 0..1, or NaN if no window fitted."""
        return self._mean.score(window)

    @property
    def form(self) -> ConsistencyForm | None:
        """How the closed videos were scored; None if none has labels."""
        return joint_form(self._forms)


def joint_form(forms: Iterable[ConsistencyForm | None]) -> ConsistencyForm | None:
    """Return how videos were scored together that were scored so one by one; None: no labels."""
    distinct = {form for form in forms if form is not None}
    return 'mixed' if len(distinct) > 1 else next(iter(distinct), None)
