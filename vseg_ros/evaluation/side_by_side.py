"""One picture of a frame and what several pipelines make of it, for videos and the README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from vseg_ros.atomic import atomic_file
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


def write_png(path: Path, picture: UInt8Array) -> None:
    """
    Write uint8 [H, W, 3] RGB as a PNG, whole or not at all.

    Raises:
        UserError: the file cannot be written.

    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(cv2.imencode('.png', picture[..., ::-1])[1].tobytes())


def _captioned(caption: str, image: UInt8Array) -> UInt8Array:
    bar = np.full((CAPTION_HEIGHT, image.shape[1], 3), 24, np.uint8)
    cv2.putText(bar, caption, (8, CAPTION_HEIGHT - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5,
                (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([bar, image])
