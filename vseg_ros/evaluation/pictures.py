"""Pictures of the report, as data URIs, so that the page needs no other file."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from vseg_ros.frame import UInt8Array

CHANGED_COLOR = (255, 214, 0)
"""RGB of a pixel that changed class, on a darkened grey image."""

JPEG_QUALITY = 85


def data_uri(image: UInt8Array) -> str:
    """Encode uint8 [H, W, 3] RGB as a JPEG data URI."""
    _, encoded = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return 'data:image/jpeg;base64,' + base64.b64encode(encoded.tobytes()).decode('ascii')


def paint_changes(image: UInt8Array, changed: UInt8Array) -> UInt8Array:
    """
    Show where the class changed.

    Args:
        image: uint8 [H, W, 3], RGB.
        changed: uint8 [H, W], 0 unchanged to 255 changed.

    Returns:
        uint8 [H, W, 3], RGB: the image in dark grey, changed pixels in `CHANGED_COLOR`.

    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] * np.float32(0.5)
    weight = changed[..., None] / np.float32(255)
    mixed = grey * (1 - weight) + np.array(CHANGED_COLOR, np.float32) * weight
    return np.asarray(mixed, np.uint8)
