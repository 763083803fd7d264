"""How an image gets to where the networks are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def upload(pixels: NDArray[Any], device: torch.device) -> Tensor:
    """
    Copy pixels to a device; to a GPU from pinned memory, so that nobody waits for it.

    Args:
        pixels: of any shape, however it lies in memory, perhaps read-only.
        device: where to.

    Returns:
        the same shape and type; shares nothing with `pixels`.

    """
    # torch takes no array that runs backwards, as one with its channels reversed does
    copied = torch.tensor(np.ascontiguousarray(pixels))
    if device.type == 'cuda':
        copied = copied.pin_memory().to(device, non_blocking=True)
    return copied
