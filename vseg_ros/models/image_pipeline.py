"""
The plain image segmenter as a pipeline (`iss`): every frame by itself, no memory.

It is what DiTTA starts from and is compared with. `ImageLabeller` is its inner half, shared with
DiTTA: frame in, decoder output at 1/4 resolution out, and the sizes between the two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import LabelSet
from vseg_ros.models.labelling import InputSize, resize_image, score_pixels, to_segmentation
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

    Attributes:
        segmenter: the loaded networks.
        runtime: runs them.

    """

    def __init__(self, settings: SegmenterSettings) -> None:
        self.segmenter: ImageSegmenter = load_segmenter(settings.segmenter)
        self.runtime: SegmenterRuntime = create_runtime(
            self.segmenter, settings.device, settings.precision)
        self._input_size = InputSize(settings.input_size, self.segmenter.size_multiple)

    @property
    def label_set(self) -> LabelSet:
        """The segmenter's classes."""
        return self.segmenter.label_set

    def prepare(self, frame: Frame) -> NDArray[np.uint8]:
        """Resize the frame's image to the segmenter's input size."""
        return resize_image(frame.image, self._input_size.of(frame.size))

    def segment(self, frame: Frame) -> Segmentation:
        """Label one frame with the runtime's present decoder."""
        image = self.prepare(frame)
        scored = score_pixels(self.runtime.infer(image).logits, (image.shape[0], image.shape[1]))
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
