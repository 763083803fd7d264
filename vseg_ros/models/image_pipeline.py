"""
The plain image segmenter as a pipeline (`iss`): every frame by itself, no memory.

It is what DiTTA starts from and is compared with. `ImageLabeller` is its inner half, shared with
DiTTA: frame in, decoder output at 1/4 resolution out, and the sizes between the two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vseg_ros.class_maps import find_class_map
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import LabelSet
from vseg_ros.models.class_groups import ClassGroups
from vseg_ros.models.labelling import (
    InputSize,
    Scores,
    resize_image,
    score_pixels,
    to_segmentation,
)
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.runtime import SegmenterRuntime, create_runtime
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.pipeline import PipelineState, PipelineStatus
from vseg_ros.settings import SegmenterSettings


class ImageLabeller:
    """
    A segmenter with the runtime and the input size that its settings ask for.

    Args:
        settings: which segmenter, where and at what size.
        group_answers: leave the segmenter in its own classes and apply the class map, if there
            is one, to what `answer` is given.

    Attributes:
        segmenter: the loaded networks.
        runtime: runs them.
        label_set: the classes of the answers.

    """

    def __init__(self, settings: SegmenterSettings, group_answers: bool = False) -> None:
        grouped = '' if group_answers else settings.classes
        self.segmenter: ImageSegmenter = load_segmenter(settings.segmenter, grouped)
        self.label_set: LabelSet = self.segmenter.label_set
        self._groups: ClassGroups | None = None
        if settings.classes != grouped:
            class_map = find_class_map(settings.classes)
            self._groups = ClassGroups(class_map.groups(self.label_set.names))
            self.label_set = class_map.target
        self.runtime: SegmenterRuntime = create_runtime(
            self.segmenter, settings.device, settings.precision, settings.compile)
        self._input_size = InputSize(settings.input_size, self.segmenter.size_multiple)

    def prepare(self, frame: Frame) -> NDArray[np.uint8]:
        """Resize the frame's image to the segmenter's input size."""
        return resize_image(frame.image, self._input_size.of(frame.size))

    def segment(self, frame: Frame) -> Segmentation:
        """Label one frame with the runtime's present decoder."""
        image = self.prepare(frame)
        scored = score_pixels(self.runtime.infer(image).logits, (image.shape[0], image.shape[1]))
        return self.answer(scored, frame)

    def answer(self, scored: Scores, frame: Frame) -> Segmentation:
        """Bring what was scored to the size of the frame, and to the classes of the answers."""
        if self._groups is not None:
            groups = self._groups.to(scored.logits.device)
            scored = score_pixels(groups(scored.logits),
                                  (scored.labels.shape[0], scored.labels.shape[1]))
        return to_segmentation(scored, scored.reliability, frame, self.label_set)


class ImagePipeline:
    """
    Every frame by itself.

    Args:
        settings: which segmenter, where and at what size.

    Raises:
        UserError: the segmenter or the device is not there.

    """

    def __init__(self, settings: SegmenterSettings) -> None:
        self._labeller = ImageLabeller(settings)

    @property
    def label_set(self) -> LabelSet:
        """The segmenter's classes."""
        return self._labeller.label_set

    @property
    def status(self) -> PipelineStatus:
        """Always running."""
        return PipelineStatus(PipelineState.RUNNING)

    def step(self, frame: Frame) -> list[Segmentation]:
        """Label the frame at once."""
        return [self._labeller.segment(frame)]

    def finish(self) -> list[Segmentation]:
        """Nothing is ever held back."""
        return []
