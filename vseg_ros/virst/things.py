"""
Which cells show the same thing, and the one thing that is meant: for a small model.

Not in the paper. Where a small model looks is often spread over several things that are alike, and
a mask decoder then draws a piece of each. Here every visual token also tells which tokens of all
frames show what it shows. What the cell that is looked at most shows is the thing that is meant,
and where the model looks beside it does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

VOTERS = 64
"""Cells looked at most, which vote on the cells of the thing as far as they show it."""
_LEAST = 1e-6
_FIRST_BIAS = -4.0
"""Most pairs of cells do not show the same thing."""


@dataclass(frozen=True, eq=False)
class Sameness:
    """
    What tells of C clips which of their M cells show the same thing.

    Attributes:
        asking: float [C, M, E].
        answering: float [C, M, E].
        bias: scalar.

    """

    asking: Tensor
    answering: Tensor
    bias: Tensor

    def of(self, clip: int) -> Sameness:
        """Take one of the clips."""
        return Sameness(self.asking[clip:clip + 1], self.answering[clip:clip + 1], self.bias)

    def compare(self, cells: Tensor) -> Tensor:
        """
        Compare some cells with all of their clip.

        Args:
            cells: int64 [C, R].

        Returns:
            logits [C, R, M], above 0 where a cell shows what the asking one does.

        """
        asking = self.asking.gather(1, cells[..., None].expand(-1, -1, self.asking.shape[2]))
        alike = asking @ self.answering.transpose(1, 2) / asking.shape[2] ** 0.5
        logits: Tensor = alike + self.bias
        return logits


class ThingEmbedding(nn.Module):
    """
    Makes of visual tokens what tells which of them show the same thing.

    Args:
        width: D, of the tokens.
        channels: E, of what is compared.

    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.GELU(),
                                    nn.Linear(width, 2 * channels))
        self.bias = nn.Parameter(torch.tensor(_FIRST_BIAS))

    def forward(self, tokens: Tensor) -> Sameness:
        """Embed float [C, M, D]."""
        asking, answering = self.layers(tokens).chunk(2, -1)
        return Sameness(asking, answering, self.bias)


def single_thing(heat: Tensor, sameness: Sameness) -> Tensor:
    """
    Keep of where a model looks what lies on the thing that it looks at most.

    Args:
        heat: logits [B, T, g, g], the cells in the order of the M = T g g tokens.
        sameness: of C clips; B / C questions in a row share one.

    Returns:
        [B, T, g, g], 0..1: the probability that a cell is meant, times how likely it shows the
        thing of the most likely cell, by the likeliest of all.

    """
    flat = heat.float().flatten(1)
    voters = flat.topk(min(VOTERS, flat.shape[1])).indices
    shown = sameness.compare(voters.view(len(sameness.asking), -1)).float().sigmoid()
    shown = shown.view(len(flat), -1, flat.shape[1])
    votes = shown[:, 0].gather(1, voters)
    thing = (votes[:, None] @ shown)[:, 0]
    likeliest = thing.amax(1, keepdim=True).clamp_min(_LEAST)
    return (flat.sigmoid() * thing / likeliest).view(heat.shape)
