"""
Zero-shot refinement with a tracker (DiTTA, Sec. 5.3): no learning, a tracker for every frame.

The first frame's labels are cut into objects (`objects.py`), each is tracked from there on, and
what is tracked is painted over the segmenter's labels of every frame. The tracker keeps images,
so after `refine.kept_frames` frames it starts again from its present masks; memory stays bounded.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.baselines.objects import NO_OBJECT, DetectedObject, detect_objects, paint_classes
from vseg_ros.frame import BoolArray, Float32Array, Frame, LabelArray, Segmentation, UInt8Array
from vseg_ros.labels import LabelSet
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.labelling import Scores, score_pixels, to_segmentation
from vseg_ros.models.tracker import TrackingSession, create_tracker
from vseg_ros.pipeline import PipelineState, PipelineStatus
from vseg_ros.settings import RefineSettings

SMALLEST_MASK = 8
"""Masks of fewer pixels are not worth a start in a new session."""


class RefinePipeline:
    """
    The plain segmenter with tracked objects painted over its labels.

    Args:
        settings: of the segmenter, the tracker and the objects.

    Raises:
        UserError: the segmenter, the tracker or the device is not there.

    """

    def __init__(self, settings: RefineSettings) -> None:
        self.settings = settings
        self._labeller = ImageLabeller(settings)
        self._tracker = create_tracker(
            settings.tracker, str(self._labeller.runtime.device), settings.precision)
        self._session: TrackingSession | None = None
        self._objects: dict[int, DetectedObject] = {}
        self._masks: dict[int, BoolArray] = {}
        self._since_detection = 0
        self._since_opening = 0
        self._size = (0, 0)
        self._last_stamp = 0

    @property
    def label_set(self) -> LabelSet:
        """The segmenter's classes."""
        return self._labeller.label_set

    @property
    def status(self) -> PipelineStatus:
        """Always running."""
        return PipelineStatus(PipelineState.RUNNING)

    def step(self, frame: Frame) -> list[Segmentation]:
        """Label the frame and paint what is tracked over it."""
        image = self._labeller.prepare(frame)
        size = (image.shape[0], image.shape[1])
        scored = score_pixels(self._labeller.runtime.infer(image).logits, size)
        if frame.stamp < self._last_stamp or size != self._size:
            self._close()
        self._size, self._last_stamp = size, frame.stamp
        self._track(image, scored)
        plain = to_segmentation(scored, scored.reliability, frame, self.label_set)
        return [self._paint(plain)]

    def finish(self) -> list[Segmentation]:
        """Nothing is ever held back; the tracker is released."""
        self._close()
        self._tracker.release()
        return []

    def _track(self, image: UInt8Array, scored: Scores) -> None:
        """Move the objects to this frame, or find them here."""
        renew = self.settings.refine.renew
        if self._session is None or (renew and self._since_detection >= renew):
            self._detect(scored)
            self._open(image)
            self._since_detection = 0
        else:
            index = self._session.append(image)
            if self._objects:
                self._masks = self._session.track(index)
            self._since_opening += 1
            if self._since_opening >= self.settings.refine.kept_frames:
                self._open(image)
        self._since_detection += 1

    def _detect(self, scored: Scores) -> None:
        confidence: Float32Array = scored.scores.softmax(0).amax(0).cpu().numpy()
        found = detect_objects(scored.labels.cpu().numpy(), confidence,
                               self.settings.refine.min_area)
        self._objects = dict(enumerate(found, 1))
        self._masks = {key: value.mask for key, value in self._objects.items()}

    def _open(self, image: UInt8Array) -> None:
        """Start a session on this frame with the present masks; what is lost is dropped."""
        if self._session is not None:
            self._session.close()
        self._session = self._tracker.open()
        index = self._session.append(image)
        alive = {key: mask for key, mask in self._masks.items()
                 if np.count_nonzero(mask) >= SMALLEST_MASK}
        self._objects = {key: self._objects[key] for key in alive}
        self._masks = {key: self._session.add_mask(index, key, mask)
                       for key, mask in alive.items()}
        self._since_opening = 1

    def _paint(self, plain: Segmentation) -> Segmentation:
        """Paint the tracked classes over the labels, both at the size of the frame."""
        classes = paint_classes(self._masks, self._objects, self._size)
        scores = np.zeros(len(self.label_set), np.float32)
        for value in self._objects.values():
            scores[value.label] = max(scores[value.label], value.score)
        height, width = plain.labels.shape
        sized: NDArray[np.integer] = np.asarray(cv2.resize(
            classes.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST))
        changed = (sized != NO_OBJECT) & (sized != plain.labels)
        labels: LabelArray = plain.labels.copy()
        labels[changed] = sized[changed]
        confidence = plain.confidence.copy()
        # the segmenter's reliability is that of another class here
        confidence[changed] = scores[sized[changed]]
        return Segmentation(labels, confidence, self.label_set, plain.stamp, plain.frame_id)

    def _close(self) -> None:
        """Forget everything that was tracked."""
        if self._session is not None:
            self._session.close()
        self._session, self._objects, self._masks = None, {}, {}
