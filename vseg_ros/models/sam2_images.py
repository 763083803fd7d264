"""
Images, masks and points between the frame and SAM 2's own square, without torchvision.

SAM 2 sees every frame squeezed to a square of `side` pixels and answers with logits on a square
of a quarter of that. Prompts travel one way, masks the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vseg_ros.frame import BoolArray, UInt8Array
from vseg_ros.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from vseg_ros.models.tracker import Point
from vseg_ros.models.upload import upload

# Masks are brought to the frame's size so many at a time: 16 at 1280x720 take 59 MB.
MASKS_AT_ONCE = 16


def model_image(image: UInt8Array, side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """
    Turn a frame into the input of the image encoder.

    Args:
        image: uint8 [H, W, 3], RGB.
        side: height and width that the model wants.
        device: where the result is made.
        dtype: its precision.

    Returns:
        [1, 3, side, side], resized bilinearly, ImageNet mean and deviation removed.

    """
    planes = upload(image, device).permute(2, 0, 1)[None].float() / 255
    square = _resized(planes, (side, side))
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
    deviation = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1)
    return ((square - mean) / deviation).to(dtype)


def model_mask(mask: BoolArray, side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Turn bool [H, W] into the model's mask prompt: [1, 1, side, side], 0 or 1."""
    plane = torch.tensor(mask, device=device)[None, None].float()
    return (_resized(plane, (side, side)) >= 0.5).to(dtype)


def model_points(points: Sequence[Point], size: tuple[int, int], side: int,
                 device: torch.device) -> Tensor:
    """Turn (x, y) in pixels of a frame of height and width `size` into float32 [1, 1, n, 2]."""
    scale = torch.tensor((side / size[1], side / size[0]))
    return (torch.tensor(points, dtype=torch.float32) * scale).to(device)[None, None]


def frame_masks(logits: Sequence[Tensor], size: tuple[int, int]) -> list[BoolArray]:
    """
    Turn mask logits into masks.

    Args:
        logits: [h, w] of the model each.
        size: height and width of the frame.

    Returns:
        bool [H, W] each: where the logits, resized bilinearly, are above 0.

    """
    masks: list[BoolArray] = []
    for start in range(0, len(logits), MASKS_AT_ONCE):
        some = torch.stack(list(logits[start:start + MASKS_AT_ONCE]))[:, None].float()
        enlarged = F.interpolate(some, size, mode='bilinear', align_corners=False)
        masks.extend((enlarged[:, 0] > 0).cpu().numpy())
    return masks


def _resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [B, C, H, W] bilinearly, averaging where it gets smaller."""
    return F.interpolate(planes, size, mode='bilinear', align_corners=False, antialias=True)
