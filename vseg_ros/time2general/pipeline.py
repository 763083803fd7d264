"""
Time2General as a streaming pipeline, in two modes.

- `clips`, as in the paper (Sec. 4.2): T frames are collected, then answered together; clips
  follow each other without overlap. The first frame of a clip waits for T - 1 others.
- `sliding`, for robots: every frame is answered at once. The memory holds it and the T - 1
  before it, whose features are kept, so that each frame is encoded once; the queries attend to
  the memory anew.

In both, the frames in sight are forgotten when the stream pauses, goes back in time or changes
its image size; frames that wait are answered first.
"""

from __future__ import annotations

import torch

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import LabelSet
from vseg_ros.models.labelling import InputSize, resize_image, score_pixels, to_segmentation
from vseg_ros.pipeline import PipelineState, PipelineStatus
from vseg_ros.settings import Time2GeneralSettings
from vseg_ros.time2general.clip_window import ClipWindow, SeenFrame
from vseg_ros.time2general.runtime import create_frame_runtime
from vseg_ros.time2general.saved import load_time2general


class Time2GeneralPipeline:
    """
    Segment a stream with a memory of its last frames.

    Args:
        settings: which weights, where, at what size, and the mode.

    Raises:
        UserError: the weights, their backbone or the device are not there, or `clip_length` is
            more than the model was trained with.

    """

    def __init__(self, settings: Time2GeneralSettings) -> None:
        model = load_time2general(settings.weights)
        trained = model.head.settings.clip_length
        length = settings.clip_length or trained
        if length > trained:
            raise UserError(f'clip_length is {length}, but {settings.weights} was trained with '
                            f'clips of {trained}: choose at most that')
        self.label_set: LabelSet = model.label_set
        self._runtime = create_frame_runtime(model, settings.device, settings.precision)
        self._input_size = InputSize(settings.input_size, model.backbone.size_multiple)
        self._sliding = settings.mode == 'sliding'
        memory = length if model.head.settings.memory else 1
        self._window = ClipWindow(memory if self._sliding else length, settings.max_gap)
        self._joined = model.head.settings.memory

    @property
    def status(self) -> PipelineStatus:
        """Always running."""
        return PipelineStatus(PipelineState.RUNNING)

    @torch.no_grad()
    def step(self, frame: Frame) -> list[Segmentation]:
        """Take the next frame; see the module for what is answered when."""
        answers = [] if self._window.continues(frame) else self._close()
        image = resize_image(frame.image, self._input_size.of(frame.size))
        self._window.add(SeenFrame(frame, *self._runtime.encode(image)))
        if self._sliding:
            return self._answer(self._window.frames, 1)
        if self._window.full:
            answers += self._close()
        return answers

    @torch.no_grad()
    def finish(self) -> list[Segmentation]:
        """Answer the frames of a clip that did not fill."""
        return self._close()

    def _close(self) -> list[Segmentation]:
        """Forget the frames in sight, after answering those that wait."""
        frames = self._window.clear()
        if self._sliding or not frames:
            return []
        if self._joined:
            return self._answer(frames, len(frames))
        return [answer for seen in frames for answer in self._answer([seen], 1)]

    def _answer(self, frames: list[SeenFrame], count: int) -> list[Segmentation]:
        """Segment the last `count` of the frames, with all of them as memory."""
        queries = self._runtime.attend([seen.pixels for seen in frames])
        return [self._decode(seen, queries) for seen in frames[-count:]]

    def _decode(self, seen: SeenFrame, queries: torch.Tensor) -> Segmentation:
        logits = self._runtime.decode(queries, seen.fused)
        size = self._input_size.of(seen.frame.size)
        scored = score_pixels(logits, size)
        return to_segmentation(scored, scored.reliability, seen.frame, self.label_set)
