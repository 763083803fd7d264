"""
An exported DiTTA as a streaming pipeline: FROZEN from the first frame on, without a segmenter.

It is what `adapted_weights` runs if it names a file of `vseg export ditta`. Segmenter, classes and
fusion are those of the file, whatever the settings say.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vseg_ros.ditta.onnx_runtime import ExportedDitta
from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, Segmentation, follows
from vseg_ros.labels import LabelSet
from vseg_ros.models.exported import DYNAMIC, providers_for
from vseg_ros.models.labelling import InputSize, Scores, resize_image, to_segmentation
from vseg_ros.pipeline import PipelineState, PipelineStatus
from vseg_ros.settings import DittaSettings


class ExportedDittaPipeline:
    """
    A frozen DiTTA that is one graph.

    Args:
        settings: `adapted_weights` names the file; `device` where to run it, also `tensorrt`;
            `input_size` counts if the file takes images of any size.

    Raises:
        UserError: there is no such file, it is something else, or the device is not there.

    """

    def __init__(self, settings: DittaSettings) -> None:
        self.settings = settings
        providers, gpu = providers_for(settings.device)
        path = Path(settings.adapted_weights).expanduser()
        self._exported = ExportedDitta(path, providers, threads=torch.get_num_threads(), gpu=gpu)
        self._input_size = InputSize(settings.input_size,
                                     int(self._exported.properties['size_multiple']))
        self._last_stamp = 0

    @staticmethod
    def runs(settings: DittaSettings) -> bool:
        """Whether `adapted_weights` names an exported model."""
        return Path(settings.adapted_weights).suffix.lower() == '.onnx'

    @property
    def label_set(self) -> LabelSet:
        """The classes of the exported model."""
        return self._exported.label_set

    @property
    def status(self) -> PipelineStatus:
        """Always frozen."""
        return PipelineStatus(PipelineState.FROZEN)

    def step(self, frame: Frame) -> list[Segmentation]:
        """Label the frame; every frame gets its segmentation at once."""
        if not follows(frame.stamp, self._last_stamp, self.settings.fusion.max_gap):
            self._exported.reset()
        self._last_stamp = frame.stamp
        size = self._size_of(frame)
        found = self._exported.step(resize_image(frame.image, size), scores=size != frame.size)
        confidence = found.confidence.astype(np.float32) / np.float32(255)
        if found.scores is None:
            return [Segmentation(found.labels, confidence, self.label_set, frame.stamp,
                                 frame.frame_id)]
        sure = torch.from_numpy(confidence)
        scored = Scores(torch.from_numpy(found.scores)[None], torch.from_numpy(found.labels),
                        1 - sure)
        return [to_segmentation(scored, sure, frame, self.label_set)]

    def finish(self) -> list[Segmentation]:
        """Nothing is ever held back."""
        return []

    def adapt(self) -> None:
        """
        Refuse: what an exported model learned is fixed.

        Raises:
            UserError: always.

        """
        raise UserError(f'{self.settings.adapted_weights} is an exported model and cannot adapt: '
                        'leave adapted_weights empty to watch the scene anew')

    def save(self, path: Path) -> None:
        """
        Refuse: there is nothing that was learned here.

        Raises:
            UserError: always.

        """
        raise UserError(f'{self.settings.adapted_weights} is an exported model, which learns '
                        'nothing that could be saved')

    def _size_of(self, frame: Frame) -> tuple[int, int]:
        """Return height and width of the image that the model is given for a frame."""
        size = self._exported.properties['size']
        if size == DYNAMIC:
            return self._input_size.of(frame.size)
        height, width = size.split('x')
        return int(height), int(width)
