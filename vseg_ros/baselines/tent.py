"""
TENT (Wang et al., ICLR 2021): entropy minimisation at test time.

    L(x) = mean over pixels of  H(y) = - sum_c p(y_c) log p(y_c)        (Sec. 3.1)

Only the affine parameters gamma and beta of the normalisation layers learn (Sec. 3.2): in a
SegFormer the layer normalisation of the encoder and the batch normalisation of the head. A frame
is answered by the forward pass that its step is taken from, as in the released code.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vseg_ros.baselines.adapted_runtime import RuntimeModel, adapted_runtime, new_copy
from vseg_ros.baselines.learner import Learned, learning_part, take_step, to_batch
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.reliability import entropy, upsample
from vseg_ros.settings import TentSettings

BatchNorm = nn.modules.batchnorm._BatchNorm
NORMALISATIONS = (BatchNorm, nn.LayerNorm, nn.GroupNorm)


def entropy_loss(logits: Tensor) -> Tensor:
    """Sec. 3.1: mean entropy of the class distributions of float [B, C, H, W], a scalar."""
    return entropy(logits.log_softmax(1)).mean()


def normalisation_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Sec. 3.2: scale and shift of every normalisation layer."""
    return [value for layer in module.modules() if isinstance(layer, NORMALISATIONS)
            for value in layer.parameters(recurse=False)]


class TentLearner:
    """
    A segmenter whose normalisation learns; see `FrameLearner`.

    Args:
        labeller: the segmenter to start from, which stays as it is.
        settings: learning rate, steps, and what learns.

    """

    def __init__(self, labeller: ImageLabeller, settings: TentSettings) -> None:
        self.steps = settings.tent.steps
        self._labeller = labeller
        self._settings = settings
        self.segmenter = new_copy(labeller.segmenter, labeller.runtime.device)
        part = learning_part(self.segmenter, settings.tent.part)
        parameters = [value.requires_grad_(True) for value in normalisation_parameters(part)]
        self._optimizer = torch.optim.Adam(parameters, lr=settings.tent.learning_rate)
        for layer in self.segmenter.modules():
            if isinstance(layer, BatchNorm):
                layer.train(settings.tent.batch_norm == 'batch')

    def learn(self, image: NDArray[np.uint8]) -> Learned:
        """Answer a frame and minimise its entropy."""
        batch = to_batch(image, self._labeller.runtime.device)
        losses = []
        for _ in range(self.steps):
            logits = self.segmenter(batch).logits
            loss = entropy_loss(upsample(logits, (image.shape[0], image.shape[1])))
            if not take_step(self._optimizer, loss):
                break
            losses.append(float(loss.detach()))
        return Learned(logits.detach(), losses)

    def freeze(self) -> RuntimeModel:
        """Run what was learned as the segmenter is run."""
        return RuntimeModel(adapted_runtime(
            self._labeller.runtime, self._labeller.segmenter, self.segmenter,
            self._settings.precision))
