"""Frames as the vision towers of language models take them: square, normalised as ImageNet is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vseg_ros.frame import UInt8Array

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def square_pixels(images: Sequence[UInt8Array], side: int, device: torch.device,
                  dtype: torch.dtype) -> Tensor:
    """
    Resize images to a square, without keeping the aspect ratio, and normalise them.

    The resizing is bicubic with antialiasing, first of rows, then of columns, and rounds to whole
    grey levels in between, as that of the Python Imaging Library, which the published models were
    trained with.

    Args:
        images: T images, uint8 [H, W, 3], RGB.
        side: S, in pixels.
        device: where to do it.
        dtype: of the result.

    Returns:
        [T, 3, S, S].

    """
    mean = torch.tensor(IMAGENET_MEAN, device=device)[:, None, None]
    std = torch.tensor(IMAGENET_STD, device=device)[:, None, None]
    resized = [_resized(image, side, device) for image in images]
    return ((torch.cat(resized) / 255 - mean) / std).to(dtype)


def _resized(image: UInt8Array, side: int, device: torch.device) -> Tensor:
    """Resize one image; returns whole numbers, float32 [1, 3, S, S] in 0..255."""
    pixels = torch.from_numpy(np.array(image)).to(device).permute(2, 0, 1)[None].float()
    for size in ((pixels.shape[-2], side), (side, side)):
        if pixels.shape[-2:] != size:
            pixels = F.interpolate(pixels, size=size, mode='bicubic', align_corners=False,
                                   antialias=True).round().clamp(0, 255)
    return pixels
