"""One picture of a frame and what several pipelines make of it, for videos and the README."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from vseg_ros.frame import Frame, Segmentation, UInt8Array

CAPTION_HEIGHT = 28


def side_by_side(frame: Frame, segmentations: Mapping[str, Segmentation]) -> UInt8Array:
    """
    Lay a frame and its segmentations beside each other, each under a caption.

    Args:
        frame: the camera image.
        segmentations: caption -> segmentation of that frame.

    Returns:
        uint8 [H + CAPTION_HEIGHT, W * (1 + n), 3], RGB.

    """
    panels = [_captioned('camera', frame.image)]
    panels += [_captioned(caption, segmentation.label_set.overlay(
        frame.image, segmentation.labels, 0.65)) for caption, segmentation in
        segmentations.items()]
    return np.hstack(panels)


def _captioned(caption: str, image: UInt8Array) -> UInt8Array:
    bar = np.full((CAPTION_HEIGHT, image.shape[1], 3), 24, np.uint8)
    cv2.putText(bar, caption, (8, CAPTION_HEIGHT - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5,
                (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([bar, image])
