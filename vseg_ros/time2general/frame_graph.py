"""
What is computed for each frame once (Eq. 1, 2 and 5), arranged for a graph.

It computes what `TokenBackbone`, `StabilityQueries` and `PixelFusion` compute, which are written
beside the paper, with the same result to rounding. The weights are frozen, so the queries are
taken through W_q and W_k in advance; and U before its normalisation,

    phi(X) + A^T U_q = [X, A^T] [W_phi; U_q] + b,

is one product. Everything is laid out cell by cell, channels last, as the products leave it.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.models.segmenter import Features
from vseg_ros.time2general.deformable_attention import Size
from vseg_ros.time2general.model import Time2General
from vseg_ros.time2general.stability_queries import QueryAttention, standardized


class FrameGraph(nn.Module):
    """
    Backbone, modulation and fusion of single frames.

    Args:
        model: trained, in eval mode; weights are shared.

    """

    def __init__(self, model: Time2General) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """
        Encode a frame.

        Args:
            image: uint8 [1, H, W, 3], RGB.

        Returns:
            cells, U of all scales, one after the other, float [N, d]; and fused, P cell by cell,
            float [h w, d].

        """
        features, depth = self.model.encode(image)
        return self.head(features, depth)

    def head(self, features: Features, depth: Features = ()) -> tuple[Tensor, Tensor]:
        """Modulate and fuse features of one frame, float [1, C, H, W] a block; see `forward`."""
        head = self.model.head
        stability = head.stability
        queries = stability.queries if head.text is None else head.text(stability.queries)
        if stability.standardize:
            features = tuple(standardized(each) for each in features)
            depth = tuple(standardized(each) for each in depth)
        scales = [self._modulate(block, queries, features, depth)
                  for block in range(len(features))]
        sizes = feature_sizes(features)
        return torch.cat(scales), self._fuse(scales, sizes)

    def _modulate(self, block: int, queries: Tensor, features: Features, depth: Features,
                  ) -> Tensor:
        """Return U of a block, float [N, d]."""
        stability = self.model.head.stability
        project, norm = stability.project[block], stability.norm[block]
        planes = features[block][0].flatten(1)
        stacked, weights = [planes], [project.get_parameter('weight').T]
        beta = None if stability.gate is None else stability.gate.beta[block]
        gates: tuple[float | Tensor, ...] = (1.0,) if beta is None else (beta, 1 - beta)
        attentions = (stability.attention, stability.depth_attention)
        for share, layers, source in zip(gates, attentions, (features, depth), strict=False):
            if len(layers):
                layer = layers[block]
                assert isinstance(layer, QueryAttention)
                attention, anchors = _attend(layer, queries, source[block][0].flatten(1))
                stacked.append(attention)
                weights.append(share * anchors)
        summed = torch.cat(stacked).T @ torch.cat(weights) + project.get_parameter('bias')
        modulated: Tensor = norm(summed)
        return modulated

    def _fuse(self, scales: list[Tensor], sizes: tuple[Size, ...]) -> Tensor:
        """Return P, float [h w, d] (Eq. 5)."""
        fusion = self.model.head.decoder.fuse
        finest = sizes[finest_scale(sizes)]
        level: list[Tensor] = []
        coarse: list[tuple[Tensor, Size]] = []
        for index, (cells, project) in enumerate(zip(scales, fusion.project, strict=True)):
            projected = project(cells)
            if index == finest_scale(sizes) or sizes[index] == finest:
                level.append(projected)
            else:
                coarse.append((projected, sizes[index]))
        if coarse:
            level.append(_enlarged_sum(coarse, finest))
        total = functools.reduce(torch.add, level)
        fused = F.gelu(fusion.norm(total))
        if len(fusion.upsample):
            fused = fusion.upsample(fused.T.reshape(1, -1, *finest))[0].flatten(1).T
        return fused


def feature_sizes(features: Features) -> tuple[Size, ...]:
    """Return height and width of each map."""
    return tuple((each.shape[2], each.shape[3]) for each in features)


def finest_scale(sizes: tuple[Size, ...]) -> int:
    """Return the index of the largest map; of equal ones, the first."""
    return max(range(len(sizes)), key=lambda index: (sizes[index], -index))


def _enlarged_sum(maps: list[tuple[Tensor, Size]], size: Size) -> Tensor:
    """
    Enlarge maps bilinearly and add them up.

    Bilinear interpolation is a product with one matrix for the rows and one for the columns. Side
    by side, the columns of all maps are one product that adds them up as well, and nothing has to
    be laid out plane by plane.

    Args:
        maps: float [h w, d] each, with h and w.
        size: height H and width W wanted.

    Returns:
        float [H W, d].

    """
    rows, columns = [], []
    for cells, (height, width) in maps:
        grid = cells.reshape(height, -1)
        rows.append((_interpolation(size[0], height, cells) @ grid).view(size[0], width, -1))
        columns.append(_interpolation(size[1], width, cells))
    return (torch.cat(columns, 1) @ torch.cat(rows, 1)).flatten(0, 1)


def _interpolation(wanted: int, present: int, like: Tensor) -> Tensor:
    """Return what every present place gives to every wanted one: float [wanted, present]."""
    centres = torch.arange(wanted, device=like.device, dtype=torch.float32) + 0.5
    at = (centres * (present / wanted) - 0.5).clamp(0, present - 1)
    there = torch.arange(present, device=like.device, dtype=torch.float32)
    return (1 - (at[:, None] - there).abs()).clamp_min(0).to(like.dtype)


def _attend(layer: QueryAttention, queries: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return A, float [Q, N], and U_q, float [Q, d], of tokens float [C, N] (see Eq. 1)."""
    probe = layer.query(queries) @ layer.key.weight / math.sqrt(queries.shape[-1])
    attention = torch.softmax(probe @ planes, -1)
    return attention, layer.value(attention @ planes.T)
