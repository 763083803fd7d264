"""
Tracks through the warm-up: prompts, forward and backward pass (DiTTA, supplement A2.1, A2.2).

Forward, frame by frame, the tracker moves what it knows and new prompts are added where nothing
is tracked. Backward, the same prompts are replayed from the last prompted frame to the first, so
that an object found late is also followed to where it came from. The union of both passes is
kept; on the frame that prompted an object, its forward mask stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vseg_ros.ditta.prompts import Prompt, occupied, prompt_mask, sample_prompts
from vseg_ros.models.tracker import MaskTracker, TrackingSession
from vseg_ros.settings import PromptSettings

Masks = dict[int, NDArray[np.bool_]]
Progress = Callable[[float], None]


@dataclass(frozen=True)
class PredictedFrame:
    """
    What the plain segmenter says of one warm-up frame.

    Attributes:
        image: uint8 [H, W, 3], RGB, at the size the segmenter works on.
        labels: integer [H, W].
        reliability: float32 [H, W], Eq. 2.

    """

    image: NDArray[np.uint8]
    labels: NDArray[np.integer]
    reliability: NDArray[np.float32]


def track_objects(frames: Sequence[PredictedFrame], tracker: MaskTracker,
                  settings: PromptSettings, progress: Progress | None = None) -> list[Masks]:
    """
    Find objects in the warm-up and follow them both ways.

    Args:
        frames: the warm-up, in order of time, all of one size.
        tracker: the teacher.
        settings: which prompts are taken.
        progress: called with the share done, 0..1.

    Returns:
        for each frame, object id -> bool [H, W]; empty dictionaries if nothing was reliable.

    """
    session = tracker.open()
    try:
        forward, prompts = _forward(frames, tracker, session, settings, progress)
        backward = _backward(frames, tracker, session, prompts, settings, progress)
    finally:
        session.close()
    return [_merge(ahead, behind, {prompt.object_id for prompt in prompted})
            for ahead, behind, prompted in zip(forward, backward, prompts, strict=True)]


def _forward(frames: Sequence[PredictedFrame], tracker: MaskTracker, session: TrackingSession,
             settings: PromptSettings, progress: Progress | None,
             ) -> tuple[list[Masks], list[list[Prompt]]]:
    tracks: list[Masks] = []
    prompts: list[list[Prompt]] = []
    count = 0
    for index, frame in enumerate(frames):
        session.append(frame.image)
        masks = session.track(index) if count else {}
        taken = occupied(masks, frame.labels.shape[:2], settings.margin)
        found = sample_prompts(frame.labels, frame.reliability, taken, count + 1,
                               settings.max_objects - count, settings)
        count += len(found)
        masks = {**masks, **_start(found, frame, tracker, session, index, settings)}
        tracks.append(masks)
        prompts.append(found)
        if progress is not None:
            progress((index + 1) / (2 * len(frames)))
    return tracks, prompts


def _backward(frames: Sequence[PredictedFrame], tracker: MaskTracker, session: TrackingSession,
              prompts: Sequence[Sequence[Prompt]], settings: PromptSettings,
              progress: Progress | None) -> list[Masks]:
    tracks: list[Masks] = [{} for _ in frames]
    last = max((i for i, found in enumerate(prompts) if found), default=-1)
    session.forget_objects()
    for index in range(last, -1, -1):
        masks = session.track(index) if index < last else {}
        started = _start(prompts[index], frames[index], tracker, session, index, settings)
        tracks[index] = {**masks, **started}
        if progress is not None:
            progress(1 - index / (2 * len(frames)))
    return tracks


def _start(prompts: Sequence[Prompt], frame: PredictedFrame, tracker: MaskTracker,
           session: TrackingSession, index: int, settings: PromptSettings) -> Masks:
    """Give the tracker its prompts, in the form it can use."""
    masks = {}
    for prompt in prompts:
        if tracker.wants_masks:
            region = prompt_mask(prompt, frame.labels, frame.reliability,
                                 settings.min_reliability)
            masks[prompt.object_id] = session.add_mask(index, prompt.object_id, region)
        else:
            masks[prompt.object_id] = session.add_point(index, prompt.object_id, prompt.point)
    return masks


def _merge(forward: Masks, backward: Masks, prompted: set[int]) -> Masks:
    """Unite both passes; the forward mask stands alone where the object was prompted."""
    merged = dict(forward)
    for object_id, mask in backward.items():
        if object_id in prompted:
            continue
        merged[object_id] = merged[object_id] | mask if object_id in merged else mask
    return merged
