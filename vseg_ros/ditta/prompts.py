"""
Object prompts: where the tracker is asked to start (DiTTA, supplement A2.1).

The classes of a frame are visited in order of their peak reliability. The peak pixel of a class
becomes a prompt if it is reliable enough and not yet inside (or close to) a tracked mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.settings import PromptSettings


@dataclass(frozen=True)
class Prompt:
    """
    One object to track.

    Attributes:
        object_id: 1, 2, ... over the whole warm-up.
        point: pixel (x, y) of peak reliability.
        label: class that the segmenter gives that pixel.

    """

    object_id: int
    point: tuple[int, int]
    label: int


def occupied(masks: dict[int, NDArray[np.bool_]], size: tuple[int, int],
             margin: int) -> NDArray[np.bool_]:
    """
    Pixels that tracked masks already explain.

    Args:
        masks: object id -> bool [H, W].
        size: height and width of the frame.
        margin: how far the masks are grown, in pixels (diamond-shaped).

    Returns:
        bool [H, W].

    """
    union = np.zeros(size, np.uint8)
    for mask in masks.values():
        union |= mask.view(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return cv2.dilate(union, cross, iterations=margin).astype(bool) if margin else union > 0


def sample_prompts(labels: NDArray[np.integer], reliability: NDArray[np.float32],
                   taken: NDArray[np.bool_], first_id: int, room: int,
                   settings: PromptSettings) -> list[Prompt]:
    """
    Choose the prompts of one frame.

    Args:
        labels: integer [H, W], the segmenter's prediction.
        reliability: float32 [H, W], Eq. 2.
        taken: bool [H, W], pixels that tracked masks explain.
        first_id: id of the first new object.
        room: how many objects may still be added.
        settings: least reliability of a prompt.

    Returns:
        at most one prompt a class, the most reliable class first.

    """
    peaks = []
    for label in np.unique(labels):
        index = int(np.argmax(np.where(labels == label, reliability, -1)))
        peaks.append((float(reliability.flat[index]), int(label), index))
    prompts: list[Prompt] = []
    for peak, label, index in sorted(peaks, key=lambda entry: (-entry[0], entry[1])):
        if len(prompts) >= room:
            break
        if peak < settings.min_reliability or taken.flat[index]:
            continue
        row, column = divmod(index, labels.shape[1])
        prompts.append(Prompt(first_id + len(prompts), (column, row), label))
    return prompts


def prompt_mask(prompt: Prompt, labels: NDArray[np.integer],
                reliability: NDArray[np.float32], min_reliability: float) -> NDArray[np.bool_]:
    """
    Mask for a tracker that cannot grow one from a point: the prompt's region of its class.

    Args:
        prompt: the prompt.
        labels: integer [H, W], the segmenter's prediction.
        reliability: float32 [H, W], Eq. 2.
        min_reliability: pixels below it are left out.

    Returns:
        bool [H, W], the 8-connected component that holds the point.

    """
    region = (labels == prompt.label) & (reliability >= min_reliability)
    region[prompt.point[1], prompt.point[0]] = True
    _, components = cv2.connectedComponents(region.astype(np.uint8), connectivity=8)
    mask: NDArray[np.bool_] = components == components[prompt.point[1], prompt.point[0]]
    return mask
