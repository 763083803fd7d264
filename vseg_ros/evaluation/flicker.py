"""
Flicker without labels: the share of pixels whose predicted class changed since the last frame.

Where the camera moves some of that change is right. `still_flicker` therefore looks only at
pixels whose colour hardly changed, where a new class is almost always a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vseg_ros.frame import BoolArray, LabelArray, UInt8Array

STILL_GREY_LEVELS = 8
"""Largest change of any colour channel, in 0..255, of a pixel that hardly changed."""


@dataclass(frozen=True, eq=False)
class Flicker:
    """
    What changed from one frame to the next.

    Attributes:
        changed: bool [H, W], the class differs from the frame before.
        flicker: share of all pixels that changed, 0..1; NaN for a first frame.
        still_flicker: the same over pixels whose image hardly changed; NaN if there is none.

    """

    changed: BoolArray
    flicker: float
    still_flicker: float


class FlickerMeter:
    """Compares every frame of one video with the frame before; a change of size starts anew."""

    def __init__(self) -> None:
        self._previous: tuple[UInt8Array, LabelArray] | None = None

    def add(self, image: UInt8Array, labels: LabelArray) -> Flicker:
        """
        Compare the next frame with the one before.

        Args:
            image: uint8 [H, W, 3], RGB.
            labels: uint8 or uint16 [H, W], the predicted ids of this image.

        Returns:
            The change since the last call; both shares are NaN at the first.

        """
        previous, self._previous = self._previous, (image, labels)
        if previous is None or previous[1].shape != labels.shape:
            return Flicker(np.zeros(labels.shape, np.bool_), float('nan'), float('nan'))
        changed = np.not_equal(labels, previous[1])
        still = cv2.absdiff(image, previous[0]).max(axis=2) <= STILL_GREY_LEVELS
        pixels = np.count_nonzero(still)
        return Flicker(
            changed, np.count_nonzero(changed) / changed.size,
            np.count_nonzero(changed & still) / pixels if pixels else float('nan'))
