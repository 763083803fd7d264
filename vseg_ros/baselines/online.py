"""
The frame loop of the baselines that learn online: WARMING_UP, then FROZEN.

WARMING_UP  every frame is answered by the model as it is and then learned from, once.
FROZEN      nothing learns any more; the adapted model runs as fast as the plain segmenter.

That is the Warm-up-then-Freeze protocol for methods that were made to learn for ever.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from vseg_ros.baselines.learner import FrameLearner, FrozenModel
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import LabelSet
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.labelling import score_pixels, to_segmentation
from vseg_ros.models.warmup_clock import WarmupClock
from vseg_ros.pipeline import PipelineState, PipelineStatus
from vseg_ros.settings import OnlineAdaptationSettings


class OnlinePipeline:
    """
    A segmenter that learns in a warm-up and is then frozen.

    Args:
        settings: of the segmenter and the warm-up.
        new_learner: makes the method from the loaded segmenter.

    Raises:
        UserError: the segmenter or the device is not there, or what the learner raises.

    Attributes:
        history: losses of every step.

    """

    def __init__(self, settings: OnlineAdaptationSettings,
                 new_learner: Callable[[ImageLabeller], FrameLearner]) -> None:
        self.settings = settings
        self.history: list[dict[str, float]] = []
        self._labeller = ImageLabeller(settings)
        self._learner: FrameLearner | None = new_learner(self._labeller)
        self._frozen: FrozenModel | None = None
        self._clock = WarmupClock(settings.warmup)
        self._failures = 0
        self._ended = False

    @property
    def label_set(self) -> LabelSet:
        """The segmenter's classes."""
        return self._labeller.label_set

    @property
    def status(self) -> PipelineStatus:
        """State, progress and, if something went wrong, what."""
        message = ''
        if self._failures:
            message = (f'{self._failures} frames of the warm-up gave numbers that are not finite '
                       'and were not learned from: lower the learning rate')
        if self._frozen is not None:
            return PipelineStatus(PipelineState.FROZEN, 1.0, message)
        if self._ended:
            message = ('the video ended within the warm-up: nothing was frozen; shorten it with '
                       '-p warmup.frames=N')
        return PipelineStatus(PipelineState.WARMING_UP, self._clock.progress, message)

    def step(self, frame: Frame) -> list[Segmentation]:
        """Label the frame; in the warm-up, learn from it too."""
        image = self._labeller.prepare(frame)
        if self._frozen is not None:
            logits = self._frozen.infer(image)
        else:
            assert self._learner is not None
            with torch.enable_grad():
                learned = self._learner.learn(image)
            logits = learned.logits
            self.history += [{'total': loss} for loss in learned.losses]
            self._failures += len(learned.losses) < self._learner.steps
            self._clock.tick(frame.stamp)
            if self._clock.complete:
                self._frozen, self._learner = self._learner.freeze(), None
        scored = score_pixels(logits, (image.shape[0], image.shape[1]))
        return [to_segmentation(scored, scored.reliability, frame, self.label_set)]

    def finish(self) -> list[Segmentation]:
        """Nothing is ever held back; a warm-up that was not over stays in the status."""
        self._ended = True
        return []
