"""
Painted labels laid over an image on a GPU: one byte a pixel and channel goes up and comes back.

It is what `LabelSet.overlay` draws, to one step of 255: on a processor that takes some
milliseconds of a core for a camera's image, which a robot with a GPU has better uses for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from vseg_ros.frame import LabelArray, UInt8Array
from vseg_ros.labels import OVERLAY_OPACITY, LabelSet
from vseg_ros.models.runtime import select_device
from vseg_ros.models.upload import upload

DrawOverlay = Callable[[UInt8Array, LabelArray], UInt8Array]


def overlay_for(label_set: LabelSet, device: str) -> DrawOverlay:
    """
    Choose who draws overlays: the GPU if the networks run there.

    Args:
        label_set: colours of the labels.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.

    Returns:
        image, uint8 [H, W, 3] RGB, and labels [H, W] -> uint8 [H, W, 3].

    Raises:
        UserError: the device is not there.

    """
    chosen = select_device(device)
    return label_set.overlay if chosen.type == 'cpu' else DeviceOverlay(label_set, chosen)


class DeviceOverlay:
    """
    Draws overlays where it is told.

    Args:
        label_set: colours of the labels.
        device: where.
        opacity: weight of the labels' colour, 0..1.

    """

    def __init__(self, label_set: LabelSet, device: torch.device,
                 opacity: float = OVERLAY_OPACITY) -> None:
        count = int(np.iinfo(label_set.dtype).max) + 1
        colors = torch.zeros(count, 3)
        colors[:len(label_set)] = torch.tensor(label_set.palette).float() * opacity
        shown = torch.ones(count, 1)
        shown[:len(label_set)] = 1 - opacity
        self._device = device
        self._colors, self._shown = colors.to(device), shown.to(device)

    @torch.no_grad()
    def __call__(self, image: NDArray[np.uint8], labels: LabelArray) -> UInt8Array:
        """
        Draw one.

        Args:
            image: uint8 [H, W, 3], RGB.
            labels: uint8 or uint16 [H, W]; unlabelled pixels show the image alone.

        Returns:
            uint8 [H, W, 3], RGB.

        """
        # torch indexes with no unsigned numbers but bytes
        numbers = labels if labels.dtype == np.uint8 else labels.astype(np.int32)
        indices = upload(numbers, self._device).flatten().int()
        drawn = upload(image, self._device).view(-1, 3) * self._shown[indices]
        drawn += self._colors[indices]
        return drawn.round_().to(torch.uint8).view(image.shape).cpu().numpy()
