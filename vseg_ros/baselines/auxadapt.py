"""
AuxAdapt (Zhang et al., WACV 2022): a small network beside the segmenter learns its decisions.

    z = main(x) + aux(x)           the decision readjusted: sum of logits
    y = argmax z                   the answer, and its own label
    L = - mean over pixels of log softmax(z)_y

One step of SGD with momentum a frame changes the auxiliary network alone; the segmenter stays
fixed. The auxiliary network sees the segmenter's input, smaller by `auxadapt.scale`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.baselines.adapted_runtime import adapted_runtime, new_copy
from vseg_ros.baselines.learner import Learned, take_step, to_batch
from vseg_ros.errors import UserError
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.labelling import resize_image
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.reliability import upsample
from vseg_ros.models.runtime import SegmenterRuntime, create_runtime
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.settings import AuxAdaptSettings


def sum_of_logits(main: Tensor, auxiliary: Tensor) -> Tensor:
    """Add float [1, C, h, w] and [1, C, h', w'] at the size of the larger first."""
    return main + upsample(auxiliary, (main.shape[2], main.shape[3]))


def decision_loss(logits: Tensor) -> Tensor:
    """Cross entropy of float [1, C, H, W] with its own decision, a scalar."""
    return F.cross_entropy(logits, logits.detach().argmax(1))


def smaller_image(image: NDArray[np.uint8], scale: float, multiple: int) -> NDArray[np.uint8]:
    """Resize uint8 [H, W, 3] by `scale`, to sides that are multiples of `multiple`."""
    height, width = (max(round(side * scale / multiple), 1) * multiple
                     for side in image.shape[:2])
    return resize_image(image, (height, width))


class AuxAdaptLearner:
    """
    The segmenter, fixed, and an auxiliary network that learns; see `FrameLearner`.

    Args:
        labeller: the segmenter.
        settings: of the auxiliary network and of its learning.

    Raises:
        UserError: the auxiliary network is not there or has other classes.

    """

    def __init__(self, labeller: ImageLabeller, settings: AuxAdaptSettings) -> None:
        self.steps = settings.auxadapt.steps
        self._labeller = labeller
        self._settings = settings
        self._device = labeller.runtime.device
        self._source = self._load()
        self.auxiliary = new_copy(self._source, self._device).requires_grad_(True)
        self._optimizer = torch.optim.SGD(
            self.auxiliary.parameters(), lr=settings.auxadapt.learning_rate,
            momentum=settings.auxadapt.momentum)

    def _load(self) -> ImageSegmenter:
        name = self._settings.auxadapt.network
        network = load_segmenter(name or self._settings.segmenter, self._settings.classes)
        if network.label_set.names != self._labeller.label_set.names:
            raise UserError(f'auxadapt.network {name} has other classes than the segmenter '
                            f'{self._settings.segmenter}: give one of the same classes')
        return network

    def learn(self, image: NDArray[np.uint8]) -> Learned:
        """Answer a frame by both networks, and learn from the answer."""
        size = (image.shape[0], image.shape[1])
        main = self._labeller.runtime.infer(image).logits
        smaller = smaller_image(image, self._settings.auxadapt.scale,
                                self.auxiliary.size_multiple)
        losses = []
        for _ in range(self.steps):
            auxiliary = self.auxiliary(to_batch(smaller, self._device)).logits
            both = sum_of_logits(main, auxiliary)
            loss = decision_loss(upsample(both, size))
            if not take_step(self._optimizer, loss):
                break
            losses.append(float(loss.detach()))
        return Learned(both.detach(), losses)

    def freeze(self) -> FrozenPair:
        """Run both as the segmenter is run."""
        precision = self._settings.precision
        runtime = create_runtime(self._source, self._settings.device, precision)
        return FrozenPair(
            self._labeller.runtime, self._settings.auxadapt.scale, self.auxiliary.size_multiple,
            adapted_runtime(runtime, self._source, self.auxiliary, precision))


class FrozenPair:
    """
    The segmenter and the auxiliary network after learning.

    Args:
        main: runs the segmenter.
        scale: size of the auxiliary network's image, relative to the segmenter's.
        multiple: its sides are multiples of this many pixels.
        auxiliary: runs the auxiliary network.

    """

    def __init__(self, main: SegmenterRuntime, scale: float, multiple: int,
                 auxiliary: SegmenterRuntime) -> None:
        self._main = main
        self._scale = scale
        self._multiple = multiple
        self._auxiliary = auxiliary

    def infer(self, image: NDArray[np.uint8]) -> Tensor:
        """Segment uint8 [H, W, 3] RGB: logits, float32 [1, C, h, w]."""
        smaller = smaller_image(image, self._scale, self._multiple)
        return sum_of_logits(self._main.infer(image).logits,
                             self._auxiliary.infer(smaller).logits)
