"""Weights averaged over the steps of a training run, which is what a run results in."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def average_weights(average: nn.Module, model: nn.Module, kept: float, step: int) -> None:
    """
    Move averaged weights towards those of a step; what does not learn stays as it is.

    Statistics of batch normalisation are averaged likewise, and counters copied.

    Args:
        average: a copy of the model, changed in place.
        model: after the step.
        kept: what the average keeps of itself a step, 0..1; less in the first steps, so that it
            soon forgets the random beginning.
        step: number of steps done before this one.

    """
    share = min(kept, (1 + step) / (10 + step))
    for mean, new in zip(average.parameters(), model.parameters(), strict=True):
        if new.requires_grad:
            mean.lerp_(new.to(mean.dtype), 1 - share)
    for mean_buffer, new_buffer in zip(average.buffers(), model.buffers(), strict=True):
        if not new_buffer.is_floating_point():
            mean_buffer.copy_(new_buffer)
        # a mean of two infinities, as in a constant mask, is not a number
        elif not torch.equal(mean_buffer, new_buffer):
            mean_buffer.lerp_(new_buffer.to(mean_buffer.dtype), 1 - share)
