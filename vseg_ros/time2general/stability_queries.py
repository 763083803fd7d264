"""
Stability Queries (Sec. 3.2, Eq. 1 and 2): learned queries that modulate frozen features.

For every chosen block l of the frozen backbone, with tokens X [N, C]:

    A   = softmax((S W_q) (X W_k)^T / sqrt(d))        [Q, N], over the tokens
    U_q = A (X W_v)                                   [Q, d], what each query sums up
    Z   = A^T U_q                                     [N, d], back with the same weights   (Eq. 1)
    U   = LN(phi(X) + Z)                              [N, d]                               (Eq. 2)

There are far fewer queries than tokens, so the products are taken the other way round, which
changes nothing but the rounding: (S W_q W_k^T) X^T and (A X) W_v never make keys or values for
every token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vseg_ros.models.segmenter import Features
from vseg_ros.time2general.depth_prior import DepthGate

LEAST_VARIANCE = 1e-5
"""Added to a variance before dividing by its root, for maps that are flat."""


class QueryAttention(nn.Module):
    """
    Cross-attention of queries to tokens and back again, without biases as in the paper.

    Args:
        channels: width C of the tokens.
        width: width d of the query space.

    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(channels, width, bias=False)
        self.value = nn.Linear(channels, width, bias=False)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """
        Modulate (Eq. 1).

        Args:
            queries: float [Q, d].
            tokens: float [B, N, C].

        Returns:
            Z, float [B, N, d].

        """
        probe = self.query(queries) @ self.key.weight / math.sqrt(queries.shape[-1])
        attention = torch.softmax(tokens @ probe.T, 1)
        anchors: Tensor = self.value(attention.transpose(1, 2) @ tokens)
        return attention @ anchors


def standardized(features: Tensor) -> Tensor:
    """
    Bring each channel of each frame to mean 0 and variance 1 over the frame.

    Fog, snow and a film of ice on the lens shift and scale whole feature maps; this takes such a
    change back. It is no part of the paper.

    Args:
        features: float [B, C, H, W].

    Returns:
        of the same shape.

    """
    variance, mean = torch.var_mean(features, (2, 3), correction=0, keepdim=True)
    return (features - mean) * torch.rsqrt(variance + LEAST_VARIANCE)


class StabilityQueries(nn.Module):
    """
    The queries, and what they make of a frame's features.

    Args:
        channels: width C of the tokens of each block.
        queries: number of queries Q.
        width: width d of the query space.
        modulation: whether the queries modulate; if not, U = LN(phi(X)), an ablation.
        standardize: whether tokens are standardised over their frame first.
        depth_channels: width of the depth tokens of each block; empty without a depth prior.

    Attributes:
        queries: the learned S, float [Q, d].

    """

    def __init__(self, channels: Sequence[int], queries: int, width: int, *,
                 modulation: bool = True, standardize: bool = False,
                 depth_channels: Sequence[int] = ()) -> None:
        super().__init__()
        self.standardize = standardize
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.project = nn.ModuleList(nn.Linear(each, width) for each in channels)
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in channels)
        self.attention = nn.ModuleList(
            QueryAttention(each, width) for each in (channels if modulation else ()))
        depth = depth_channels if modulation else ()
        self.depth_attention = nn.ModuleList(QueryAttention(each, width) for each in depth)
        self.gate = DepthGate(len(depth)) if depth else None

    def forward(self, features: Features, queries: Tensor, depth: Features = ()) -> list[Tensor]:
        """
        Make query-conditioned pixel features of every block.

        Args:
            features: one float [B, C, H, W] a block.
            queries: float [Q, d], S with or without its text prior.
            depth: depth tokens of the same sizes, float [B, C', H, W] each; empty without.

        Returns:
            U, one float [B, N, d] a block, N = H W row by row.

        """
        if self.standardize:
            features = tuple(standardized(each) for each in features)
            depth = tuple(standardized(each) for each in depth)
        return [self._modulate(block, queries, features, depth) for block in range(len(features))]

    def _modulate(self, block: int, queries: Tensor, features: Features,
                  depth: Features) -> Tensor:
        tokens = features[block].flatten(2).transpose(1, 2)
        projected: Tensor = self.project[block](tokens)
        if len(self.attention):
            change = self.attention[block](queries, tokens)
            if self.gate is not None:
                depth_tokens = depth[block].flatten(2).transpose(1, 2)
                change = self.gate(block, change, self.depth_attention[block](queries,
                                                                              depth_tokens))
            projected = projected + change
        modulated: Tensor = self.norm[block](projected)
        return modulated
