"""
CoTTA (Wang et al., CVPR 2022): continual test-time adaptation by a teacher and its student.

Every step (Algorithm 1 of the paper):

    y' from the teacher, averaged over augmentations       (Eq. 3, 4; `augmented_labels.py`)
    the student learns  L = - sum_c y'_c log y_c           (Eq. 1, 5)
    teacher = momentum * teacher + (1 - momentum) * student         (Eq. 2)
    student = M * segmenter + (1 - M) * student,  M ~ Bernoulli(p)  (Eq. 7, 8)

As in the released segmentation code, y' is the class of the highest probability, confidence is
compared pixel by pixel, and networks stay in evaluation mode. A frame is answered by y'.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vseg_ros.baselines.adapted_runtime import RuntimeModel, adapted_runtime, new_copy
from vseg_ros.baselines.augmented_labels import (
    augmented_probabilities,
    choose_labels,
    class_probabilities,
)
from vseg_ros.baselines.learner import Learned, learning_part, take_step, to_batch
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.reliability import upsample
from vseg_ros.settings import CottaSettings


@torch.no_grad()
def average_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Eq. 2: move the teacher's weights towards the student's, in place."""
    for kept, live in zip(teacher.parameters(), student.parameters(), strict=True):
        kept.lerp_(live, 1 - momentum)


@torch.no_grad()
def restore_weights(student: nn.Module, source: nn.Module, share: float,
                    generator: torch.Generator) -> None:
    """
    Eq. 7, 8: set a random share of the weights that learn back to the source's, in place.

    Args:
        student: what learns.
        source: what it started from.
        share: probability of each single weight to be set back, 0..1.
        generator: on the CPU, so that every device draws the same.

    """
    for live, old in zip(student.parameters(), source.parameters(), strict=True):
        if live.requires_grad:
            drawn = torch.rand(live.shape, generator=generator) < share
            live.copy_(torch.where(drawn.to(live.device), old, live))


class CottaLearner:
    """
    A teacher that answers and a student that learns; see `FrameLearner`.

    Args:
        labeller: the segmenter to start from, which stays as it is.
        settings: of the method, and the seed of the restoration.

    """

    def __init__(self, labeller: ImageLabeller, settings: CottaSettings) -> None:
        self.steps = settings.cotta.steps
        self._labeller = labeller
        self._settings = settings
        self._device = labeller.runtime.device
        self.source = new_copy(labeller.segmenter, self._device)
        self.teacher = new_copy(labeller.segmenter, self._device)
        self.student = new_copy(labeller.segmenter, self._device)
        part = learning_part(self.student, settings.cotta.part).requires_grad_(True)
        self._optimizer = torch.optim.Adam(part.parameters(), lr=settings.cotta.learning_rate)
        self._generator = torch.Generator().manual_seed(settings.seed)

    @torch.no_grad()
    def pseudo_label(self, image: NDArray[np.uint8]) -> Tensor:
        """Eq. 3, 4: probabilities of uint8 [H, W, 3], float [1, C, H, W]."""
        settings = self._settings.cotta
        size = (image.shape[0], image.shape[1])
        sure = class_probabilities(self.source, image, size).amax(1)
        plain = class_probabilities(self.teacher, image, size)
        if bool((sure > settings.threshold).all()):
            return plain
        averaged = augmented_probabilities(self.teacher, image, settings.largest_scale)
        return choose_labels(plain, averaged, sure, settings.threshold)

    def learn(self, image: NDArray[np.uint8]) -> Learned:
        """Answer a frame by its pseudo label, and learn from that."""
        settings = self._settings.cotta
        size = (image.shape[0], image.shape[1])
        losses = []
        for _ in range(self.steps):
            label = self.pseudo_label(image)
            logits = self.student(to_batch(image, self._device)).logits
            loss = F.cross_entropy(upsample(logits, size), label.argmax(1))
            if not take_step(self._optimizer, loss):
                break
            average_teacher(self.teacher, self.student, settings.momentum)
            restore_weights(self.student, self.source, settings.restore, self._generator)
            losses.append(float(loss.detach()))
        return Learned(label.clamp_min(torch.finfo(label.dtype).tiny).log(), losses)

    def freeze(self) -> RuntimeModel:
        """Run teacher or student as the segmenter is run, without augmentation."""
        kept = self.teacher if self._settings.cotta.frozen == 'teacher' else self.student
        return RuntimeModel(adapted_runtime(
            self._labeller.runtime, self._labeller.segmenter, kept, self._settings.precision))
