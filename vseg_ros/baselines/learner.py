"""
What an online test-time adaptation is: it learns from a frame while it answers it, then freezes.

`OnlinePipeline` drives it; TENT, CoTTA and AuxAdapt are such learners. `take_step` is the step of
optimisation that they share, which refuses numbers that are not finite.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vseg_ros.models.segmenter import ImageSegmenter


class Learned(NamedTuple):
    """
    What came of a frame.

    Attributes:
        logits: float32 [1, C, h, w] at any resolution, the answer to the frame.
        losses: the loss of every step taken; fewer than wanted where one was not finite.

    """

    logits: Tensor
    losses: list[float]


class FrozenModel(Protocol):
    """What a learner leaves behind."""

    def infer(self, image: NDArray[np.uint8]) -> Tensor:
        """Segment uint8 [H, W, 3] RGB: logits, float32 [1, C, h, w]."""
        ...


class FrameLearner(Protocol):
    """
    A segmenter that learns from the frames it sees.

    Attributes:
        steps: steps of optimisation wanted a frame.

    """

    steps: int

    def learn(self, image: NDArray[np.uint8]) -> Learned:
        """Answer uint8 [H, W, 3] RGB and learn from it."""
        ...

    def freeze(self) -> FrozenModel:
        """End learning."""
        ...


def take_step(optimizer: torch.optim.Optimizer, loss: Tensor) -> bool:
    """
    Take one step of optimisation.

    Args:
        optimizer: of the parameters that learn.
        loss: scalar.

    Returns:
        whether it was taken; with a loss or a gradient that is not finite nothing is changed.

    """
    optimizer.zero_grad()
    if not bool(torch.isfinite(loss)):
        return False
    loss.backward()  # type: ignore[no-untyped-call]
    if not all(bool(torch.isfinite(slope).all()) for slope in _slopes(optimizer)):
        return False
    optimizer.step()
    return True


def _slopes(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from (value.grad for value in group['params'] if value.grad is not None)


def learning_part(segmenter: ImageSegmenter, part: str) -> nn.Module:
    """Return what learns: the segmenter for 'all', or its decoder for 'decoder'."""
    return segmenter.decoder if part == 'decoder' else segmenter


def to_batch(image: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Turn uint8 [H, W, 3] into a batch of one, uint8 [1, H, W, 3]."""
    return torch.tensor(image, device=device)[None]
