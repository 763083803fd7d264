"""Learning rates over the steps of a training run."""

from __future__ import annotations

import math


def cosine_rate(peak: float, step: int, warmup_steps: int, steps: int) -> float:
    """Rise linearly to `peak` over `warmup_steps`, then fall along a cosine to 0 at `steps`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    share = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * share)) / 2
