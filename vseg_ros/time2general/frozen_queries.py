"""
The queries' part of a trained head (Eq. 4 and 6), arranged for one clip at a time.

It computes what `MemoryDecoder.update`, `QueryHead` and `class_scores` compute, which are written
beside the paper, with the same result to rounding and at a fraction of the cost:

- The three layers of an attention that look at the query are one matrix; value and output
  projection, W_o (W_v x + b_v) + b_o for each head, are another.
- The cells of each frame are read where they lie; a clip is never joined.
- The first block's queries are the learned ones, so where they look is the same in every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.time2general.deformable_attention import ClipDeformableAttention, Size
from vseg_ros.time2general.memory_decoder import LEAST_SCORE, DecoderBlock
from vseg_ros.time2general.model import Time2GeneralHead


@dataclass(frozen=True, eq=False)
class Grid:
    """
    The cells under each of the P places that a query looks at: heads, frames, scales and points.

    They are spelt out for every place, as sums over short rows are slow.

    Attributes:
        last: float [2, P], last column and last row of the place's scale.
        first: float [P], the scale's first cell among those of the frame.

    """

    last: Tensor
    first: Tensor

    @classmethod
    def of(cls, sizes: Sequence[Size], maps: int, points: int, device: torch.device) -> Grid:
        """
        Describe scales.

        Args:
            sizes: height and width of each, which may be symbols of an export.
            maps: heads times frames.
            points: in each map.
            device: of the tensors.

        """
        # the end of a range becomes a tensor also where its length is a symbol
        last = torch.stack([torch.cat([torch.arange(side, device=device)[-1:] for side in sides])
                            for sides in zip(*sizes, strict=True)][::-1])
        counts = (last + 1).prod(0)
        rows = torch.cat([last, (counts.cumsum(0) - counts)[None]]).float()
        rows = rows[:, None, :, None].expand(-1, maps, -1, points).flatten(1)
        return cls(rows[:2], rows[2])


@dataclass(frozen=True, eq=False)
class Aim:
    """
    Where the queries look, and how much each place counts.

    Attributes:
        rows: int64 [Q, 4, heads, T, L points], cells of each frame; 4 around each place.
        factors: float of the same shape.
        shares: float [Q, heads, T L], what each map counts in all.

    """

    rows: Tensor
    factors: Tensor
    shares: Tensor

    def of_frames(self) -> tuple[Tensor, Tensor]:
        """Rows and factors, [Q heads, T, 4 L points] each."""
        rows, factors = (values.permute(0, 2, 3, 1, 4).flatten(3).flatten(0, 1)
                         for values in (self.rows, self.factors))
        return rows, factors


Read = Callable[[Aim], Tensor]
"""Sums the cells that an aim names, each times its factor: float [Q, heads, d]."""


class FrozenBlock(nn.Module):
    """One step of Eq. 4 with its projections joined; shares nothing with `block`."""

    def __init__(self, block: DecoderBlock) -> None:
        super().__init__()
        attention = block.attention
        self.shape = (attention.heads, attention.frames, attention.scales, attention.points)
        weight, bias = _join_aims(attention)
        mix_weight, mix_bias = _join_projections(attention)
        self.aim_weight, self.aim_bias, self.mix_weight, self.mix_bias = (
            nn.Parameter(value, requires_grad=False)
            for value in (weight, bias, mix_weight, mix_bias))
        self.attention_norm = block.attention_norm
        self.feed_forward = block.feed_forward
        self.norm = block.norm

    def aim(self, queries: Tensor, grid: Grid, frames: int, absent: Tensor | None = None) -> Aim:
        """
        Choose where to look.

        Args:
            queries: float [Q, d].
            grid: of each frame.
            frames: that there are, at most those of training.
            absent: float [T], minus infinity for frames that do not count, else 0; None: all
                count.

        """
        heads, most, scales, points = self.shape
        places = heads * most * scales * points
        seen = F.linear(queries, self.aim_weight, self.aim_bias)
        reference, offsets, weights = torch.split(seen, [2, 2 * places, places], -1)
        weights = weights.view(-1, heads, most, scales * points)[:, :, :frames]
        if absent is not None:
            weights = weights + absent[:, None]
        weights = weights.flatten(2).softmax(-1)
        offsets = offsets.view(-1, 2, heads, most, scales * points)[:, :, :, :frames].flatten(2)
        at = offsets + reference.sigmoid()[..., None] * (grid.last + 1)
        at = at.clamp_min(0).minimum(grid.last)
        low = at.floor()
        beyond = at - low
        corners = torch.stack([low, (low + 1).minimum(grid.last)], 1)
        shares = torch.stack([1 - beyond, beyond], 1)
        down = corners[:, :, 1] * (grid.last[0] + 1) + grid.first
        rows = (down[:, :, None] + corners[:, None, :, 0]).long()
        factors = (shares[:, :, 1] * weights.flatten(1)[:, None])[:, :, None] * shares[
            :, None, :, 0]
        shape = (4, heads, frames, scales * points)
        return Aim(rows.view(-1, *shape), factors.view(-1, *shape),
                   weights.view(-1, heads, frames * scales, points).sum(-1))

    def update(self, queries: Tensor, found: Tensor) -> Tensor:
        """Update queries, float [Q, d], by what they found, float [Q, heads, d]."""
        attended = F.linear(found.flatten(1), self.mix_weight, self.mix_bias)
        queries = self.attention_norm(queries + attended)
        updated: Tensor = self.norm(queries + self.feed_forward(queries))
        return updated


class FrozenQueries(nn.Module):
    """
    The queries of a trained head.

    Args:
        head: trained; its small layers are shared.

    Attributes:
        queries: the learned S, float [Q, d].

    """

    def __init__(self, head: Time2GeneralHead) -> None:
        super().__init__()
        self.queries = head.stability.queries
        self.temporal, self.scale = head.decoder.temporal, head.decoder.scale
        self.blocks = nn.ModuleList(FrozenBlock(block)  # type: ignore[arg-type]
                                    for block in head.decoder.blocks)
        self.head = head.decoder.head
        self._first: dict[tuple[tuple[Size, ...], int], tuple[Grid, Aim]] = {}

    @torch.no_grad()
    def attend(self, clip: Sequence[Tensor], sizes: tuple[Size, ...]) -> Tensor:
        """
        Let the queries attend to a clip (Eq. 3 and 4).

        Args:
            clip: U of each frame, oldest first, float32 [N, d] each.
            sizes: height and width of each scale in cells.

        Returns:
            float32 [Q, d].

        """
        key = (sizes, len(clip))
        if key not in self._first:
            self._first = {}  # the size of a stream seldom changes: no more than one is kept
            grid = self.grid(sizes, len(clip))
            self._first[key] = grid, self._block(0).aim(self.queries, grid, len(clip))
        grid, first = self._first[key]
        return self.steps(lambda aim: read_frames(clip, aim), grid, len(clip), first=first)

    def grid(self, sizes: Sequence[Size], frames: int) -> Grid:
        """Describe the scales of a clip of so many frames."""
        heads, _, _, points = self._block(0).shape
        return Grid.of(sizes, heads * frames, points, self.queries.device)

    def steps(self, read: Read, grid: Grid, frames: int, absent: Tensor | None = None,
              first: Aim | None = None) -> Tensor:
        """
        Run the blocks.

        Args:
            read: reads the memory.
            grid: of each frame.
            frames: in the memory.
            absent: see `FrozenBlock.aim`.
            first: where the first block looks, if that is known already.

        Returns:
            float [Q, d].

        """
        embeddings = (self.temporal[:frames, None] + self.scale).flatten(0, 1)
        queries: Tensor = self.queries
        for index in range(len(self.blocks)):
            block = self._block(index)
            aim = block.aim(queries, grid, frames, absent) if index or first is None else first
            queries = block.update(queries, read(aim) + aim.shares @ embeddings)
        return queries

    def decode(self, queries: Tensor, fused: Tensor,
               sigmoid: Callable[[Tensor], Tensor] = Tensor.sigmoid_) -> Tensor:
        """
        Turn queries and fused pixels into logits (Eq. 6; see `class_scores`).

        Args:
            queries: float [Q, d].
            fused: P of one frame, float [d, cells].
            sigmoid: may overwrite what it is given.

        Returns:
            float [K, cells].

        """
        classes = self.head.classify(queries).softmax(-1)[:, :-1]
        # in place, as new memory of this size costs as much as the sum
        masks = sigmoid(self.head.mask(queries) @ fused)
        logits: Tensor = (classes.T @ masks).clamp_min_(LEAST_SCORE).log_()
        return logits

    def _block(self, index: int) -> FrozenBlock:
        block = self.blocks[index]
        assert isinstance(block, FrozenBlock)
        return block


def read_frames(clip: Sequence[Tensor], aim: Aim) -> Tensor:
    """Read frames where they lie: cells float [N, d] each; see `Read`."""
    rows, factors = aim.of_frames()
    found: Tensor | None = None
    for number, cells in enumerate(clip):
        part = F.embedding_bag(rows[:, number], cells, mode='sum',
                               per_sample_weights=factors[:, number])
        found = part if found is None else found.add_(part)
    assert found is not None
    return found.view(len(aim.shares), -1, found.shape[-1])


def read_joined(cells: Tensor, slots: Tensor, aim: Aim) -> Tensor:
    """
    Read frames that lie in one tensor, with operators that every runtime of ONNX has.

    Args:
        cells: float [S, N, d], S slots of a frame each.
        slots: int64 [T], where each frame of the clip is.
        aim: where to look; see `Read`.

    """
    rows, factors = aim.of_frames()
    rows = (rows + (slots * cells.shape[1])[:, None]).flatten(1)
    found = factors.flatten(1)[:, None] @ F.embedding(rows, cells.flatten(0, 1))
    return found.view(len(aim.shares), -1, found.shape[-1])


def _join_aims(attention: ClipDeformableAttention) -> tuple[Tensor, Tensor]:
    """
    Return matrix and bias of the three layers that look at the query, in one.

    Offsets come as [2, heads, T, L, points], and half a cell is taken off them: cell i has its
    centre at i + 1/2.
    """
    heads, frames = attention.heads, attention.frames
    offsets = attention.offsets
    shape = (heads, frames, attention.scales, attention.points, 2)
    weight = offsets.weight.detach().view(*shape, -1).movedim(4, 0).flatten(0, 4)
    bias = offsets.bias.detach().view(shape).movedim(4, 0).flatten() - 0.5
    layers = attention.reference, attention.weights
    return (torch.cat([layers[0].weight.detach(), weight, layers[1].weight.detach()]),
            torch.cat([layers[0].bias.detach(), bias, layers[1].bias.detach()]))


def _join_projections(attention: ClipDeformableAttention) -> tuple[Tensor, Tensor]:
    """Return matrix [d, heads d] and bias [d] of value and output projection in one."""
    value, output = attention.value, attention.output
    width = output.out_features
    outputs = output.weight.detach().view(width, attention.heads, -1)
    values = value.weight.detach().view(attention.heads, -1, width)
    matrix = torch.einsum('ohe,hed->ohd', outputs, values).flatten(1)
    return matrix, F.linear(value.bias, output.weight, output.bias).detach()
