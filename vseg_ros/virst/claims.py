"""
What each visual token shows, told true or false: a loss for a small language model.

Not in the paper, whose models come with eyes that were trained elsewhere. A question tells of one
thing of a clip alone; here every cell that shows a thing learns at once which of many claims (it
is a car, it is red, it is on the left, it comes nearer) hold of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_SHARE = 0.1
"""Share of a cell from which it shows a thing."""
EMPTY_WEIGHT = 0.1
"""Weight of a cell that shows nothing: most do."""
TRUE_WEIGHT = 3.0
"""Weight of a claim that is true: most are not."""


@dataclass(frozen=True, eq=False)
class ThingClaims:
    """
    What holds of the N things of a clip.

    Attributes:
        regions: int64 [N], their numbers in the clip's regions.
        truth: float [N, P], 1 true, 0 false, nan in doubt.
        nothing: float [P], the same of where none of them is.

    """

    regions: Tensor
    truth: Tensor
    nothing: Tensor


def thing_shares(regions: Tensor, numbers: Tensor, grid: int) -> Tensor:
    """
    Measure how much of each cell each thing fills.

    Args:
        regions: int [T, n, n].
        numbers: int64 [N].
        grid: g, rows and columns of cells.

    Returns:
        float [N, T, g, g], 0..1.

    """
    inside = regions[None] == numbers[:, None, None, None]
    return F.adaptive_avg_pool2d(inside.float(), (grid, grid))


def shown_things(shares: Tensor) -> Tensor:
    """
    Find which thing each cell shows.

    Args:
        shares: [N, T, g, g], from `thing_shares`.

    Returns:
        int64 [T, g, g]: the place of the thing that fills most of the cell; N if none fills
        `LEAST_SHARE` of it.

    """
    sliver = shares.new_full((1, *shares.shape[1:]), LEAST_SHARE)
    return (torch.cat((sliver, shares)).argmax(0) - 1) % (len(shares) + 1)


def claim_targets(shares: Tensor, claims: ThingClaims) -> Tensor:
    """Lay out what holds of each cell: float [T, g, g, P], 1, 0 or nan."""
    table = torch.cat((claims.truth, claims.nothing[None]))
    return table[shown_things(shares)]


def claim_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """
    Compare what visual tokens tell with what holds.

    Args:
        logits: float [..., P].
        targets: float [..., P], 1, 0 or nan.

    Returns:
        cross entropy, a weighted mean over all claims that are not in doubt: scalar, float32.

    """
    true = targets == 1
    weight = torch.where(true.any(-1, keepdim=True), 1.0, EMPTY_WEIGHT)
    weight = weight * torch.where(true, TRUE_WEIGHT, 1.0) * ~targets.isnan()
    entropy = F.binary_cross_entropy_with_logits(logits.float(), targets.nan_to_num(), weight,
                                                 reduction='sum')
    return entropy / weight.sum().clamp_min(1)
