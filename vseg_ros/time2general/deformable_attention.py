"""
Deformable attention of queries to a clip (Defor.Attn. of Eq. 4), in plain PyTorch.

As in Deformable DETR (Zhu et al. 2021), each head of each query looks at a few places around a
reference point, here in every frame and scale of the clip, and sums what it finds with weights
that it chose itself. Places and weights come from the query; values between cells are
interpolated bilinearly, and places outside are moved to the border.

Interpolation and the sum over places are linear, and their weights add up to one, so

    sum_i w_i (W_v (M(x_i) + e_i) + b) = W_v (sum_i w_i M(x_i) + sum_i w_i e_i) + b

and neither the value projection nor the temporal and scale embeddings e are ever applied to the
memory: its cells are read as they are, which lets a stream keep those of earlier frames. Reading
and summing is one `embedding_bag`, which makes no list of what was read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class ClipMemory:
    """
    The joint memory of a clip (Eq. 3), before its embeddings are added.

    Attributes:
        cells: float [B, T, N, d]; in each frame the cells of all scales, one after the other.
        sizes: height and width of each scale in cells; N is the sum of their products.

    """

    cells: Tensor
    sizes: tuple[Size, ...]


class ClipDeformableAttention(nn.Module):
    """
    Attention of queries to a clip's memory.

    Args:
        width: width d of queries and memory.
        heads: number of heads; divides `width`.
        frames: most frames T in a clip.
        scales: number of scales L.
        points: places a head looks at in each frame and scale.

    """

    def __init__(self, width: int, heads: int, frames: int, scales: int, points: int) -> None:
        super().__init__()
        self.heads, self.frames, self.scales, self.points = heads, frames, scales, points
        places = heads * frames * scales * points
        self.reference = nn.Linear(width, 2)
        self.offsets = nn.Linear(width, places * 2)
        self.weights = nn.Linear(width, places)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self._initialise()

    def _initialise(self) -> None:
        """Begin with equal weights, and with heads that look in different directions."""
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        reach = torch.arange(1, self.points + 1).view(1, 1, 1, -1, 1)
        start = direction.view(self.heads, 1, 1, 1, 2) * reach
        with torch.no_grad():
            self.offsets.bias.copy_(start.expand(-1, self.frames, self.scales, -1, -1).flatten())

    def forward(self, queries: Tensor, memory: ClipMemory, embeddings: Tensor) -> Tensor:
        """
        Attend.

        Args:
            queries: float [B, Q, d].
            memory: of up to `frames` frames.
            embeddings: float [T, L, d], temporal plus scale embedding of each map.

        Returns:
            float [B, Q, d].

        """
        batch, count, width = queries.shape
        frames = memory.cells.shape[1]
        places = self._places(queries, memory.sizes)[:, :, :, :frames]
        weights = self.weights(queries).view(batch, count, self.heads, self.frames, -1)
        weights = weights[:, :, :, :frames].flatten(3).softmax(-1)
        weights = weights.view(batch, count, self.heads, frames, self.scales, self.points)
        found = sample(memory, places, weights)
        found = found + weights.sum(-1).flatten(3) @ embeddings.flatten(0, 1)
        projection = self.value.weight.view(self.heads, -1, width)
        values = torch.einsum('bqhd,hed->bqhe', found, projection).flatten(2) + self.value.bias
        attended: Tensor = self.output(values)
        return attended

    def _places(self, queries: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Choose where to look: float [B, Q, heads, T, L, points, 2], x and y in 0..1."""
        # bfloat16, which autocast brings, cannot tell neighbouring cells of a large map apart
        exact = torch.promote_types(queries.dtype, torch.float32)
        reference = torch.sigmoid(self.reference(queries).to(exact))[:, :, None, None, None, None]
        offsets = self.offsets(queries).to(exact).view(
            *queries.shape[:2], self.heads, self.frames, self.scales, self.points, 2)
        cells = offsets.new_tensor([(width, height) for height, width in sizes])
        places: Tensor = reference + offsets / cells.view(self.scales, 1, 2)
        return places


def sample(memory: ClipMemory, places: Tensor, weights: Tensor) -> Tensor:
    """
    Sum what is found in a memory at given places.

    Args:
        memory: B clips of T frames and L scales.
        places: float32 (or wider) [B, Q, heads, T, L, points, 2], x and y in 0..1 of the map;
            outside, the border counts.
        weights: float [B, Q, heads, T, L, points].

    Returns:
        float [B, Q, heads, d].

    """
    indices, shares = corner_cells(memory, places)
    bags = indices.flatten(3).flatten(0, 2)
    factors = (shares * weights[..., None]).flatten(3).flatten(0, 2)
    cells = memory.cells.flatten(0, 2)
    found: Tensor = F.embedding_bag(bags, cells, per_sample_weights=factors.to(cells.dtype),
                                    mode='sum')
    return found.view(*places.shape[:3], -1)


def corner_cells(memory: ClipMemory, places: Tensor) -> tuple[Tensor, Tensor]:
    """
    Find the four cells around each place, and the bilinear share of each.

    Returns:
        int64 [B, Q, heads, T, L, points, 4], rows of the memory's cells with batch, frames and
        cells in one; float of the same shape, shares that add up to one.

    """
    batch, frames, count, _ = memory.cells.shape
    heights = places.new_tensor([height for height, _ in memory.sizes]).view(-1, 1)
    widths = places.new_tensor([width for _, width in memory.sizes]).view(-1, 1)
    x = torch.minimum((places[..., 0] * widths - 0.5).clamp_min(0), widths - 1)
    y = torch.minimum((places[..., 1] * heights - 0.5).clamp_min(0), heights - 1)
    left, top = x.floor(), y.floor()
    right, bottom = torch.minimum(left + 1, widths - 1), torch.minimum(top + 1, heights - 1)
    across, down = x - left, y - top
    shares = torch.stack([(1 - down) * (1 - across), (1 - down) * across,
                          down * (1 - across), down * across], -1)
    cells = torch.stack([top * widths + left, top * widths + right,
                         bottom * widths + left, bottom * widths + right], -1).long()
    starts = [0]
    for height, width in memory.sizes[:-1]:
        starts.append(starts[-1] + height * width)
    device = places.device
    cells = cells + torch.tensor(starts, device=device).view(-1, 1, 1)
    cells = cells + (torch.arange(frames, device=device) * count).view(-1, 1, 1, 1)
    cells = cells + (torch.arange(batch, device=device) * count * frames).view(
        -1, 1, 1, 1, 1, 1, 1)
    return cells, shares
