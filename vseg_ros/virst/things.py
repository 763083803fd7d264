"""
Which cells show the same thing, and which thing is meant: for a small model, not in the paper.

Where a small model looks is often spread over several things that are alike, and a mask decoder
then draws a piece of each. Here every visual token also tells which tokens of all frames show
what it shows. The coarse prompt is then one whole thing, that which is looked at most on the mean
of its cells, instead of everything that is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

CANDIDATES = 64
"""Cells looked at most, of which each proposes the thing that it shows."""
COLDEST = -12.0
"""Logits from here on down count as not looked at."""
LEAST_CELLS = 0.5
"""Cells that are added to each thing's, so that a sliver of a cell is no thing."""
SURE = 2.0
"""How many times the mean probability of a thing's cells makes its prompt's strength, up to 1."""
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


def whole_thing(heat: Tensor, sameness: Sameness) -> Tensor:
    """
    Turn where a model looks into the one thing that it looks at most.

    Args:
        heat: logits [B, T, g, g], the cells in the order of the M = T g g tokens.
        sameness: of C clips; B / C questions in a row share one.

    Returns:
        [B, T, g, g], 0..1: how likely each cell belongs to the thing, fainter where the thing
        itself is hardly looked at. No gradient leads back to `heat`.

    """
    flat = heat.detach().float().flatten(1)
    count = min(CANDIDATES, flat.shape[1])
    candidates = flat.topk(count).indices
    proposed = sameness.compare(candidates.view(len(sameness.asking), -1)).float().sigmoid()
    proposed = proposed.view(len(flat), count, -1)
    with torch.no_grad():
        cells = proposed.sum(-1) + LEAST_CELLS
        warmth = (flat - COLDEST).clamp_min(0)[..., None]
        best = ((proposed @ warmth)[..., 0] / cells).argmax(1)
        rows = torch.arange(len(flat), device=flat.device)
        chosen = proposed[rows, best]
        strength = SURE * (chosen * flat.sigmoid()).sum(1) / cells[rows, best]
        # all candidates vote that show the chosen thing
        votes = chosen.gather(1, candidates)
        votes = votes / votes.sum(1, keepdim=True).clamp_min(1e-6)
    thing = (votes[:, None] @ proposed)[:, 0] * strength.clamp_max(1)[:, None]
    return thing.view(heat.shape)
