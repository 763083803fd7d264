"""
How many rows of a map are multiplied at once, where only some are wanted.

oneDNN, which multiplies bfloat16 on a processor, prepares a product for every new number of rows
and keeps the last 1,024 of those, a quarter of a MiB each. A number that depends on what the
camera sees would be a new one with every scene: memory would grow from one adaptation to the next.
Rounded up there are few such numbers.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

ROW_STEP = 128
"""Rows that are multiplied together are rounded up to a multiple."""


def fill_up(places: Tensor) -> Tensor:
    """
    Append the first place of a map until there is a multiple of `ROW_STEP`.

    Args:
        places: int64 [n], which rows are wanted.

    Returns:
        int64, `places` and at most `ROW_STEP` - 1 zeros.

    """
    return F.pad(places, (0, -len(places) % ROW_STEP))
