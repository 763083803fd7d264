"""
Second fusion of STF: what the language model found, looked up again in every frame.

    F~_ST = CrossAttn(F'_ST, S'_down)

F'_ST is the hidden state of each [SEG] token, brought to the width of SAM 2's prompts and
repeated for every sampled frame; S'_down are grid tokens of those frames. Layers of a
transformer decoder (self-attention, cross-attention, feed-forward; each added, then normalised)
make of them one prompt a frame. In the cross-attention rotary embeddings tell which frame a query
belongs to and where and when a cell lies (`rotary_embedding`).

Kept from the released code: queries see the cells of all frames, not of their own alone; the
self-attention knows no position; no dropout inside the feed-forward part.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.virst.rotary_embedding import memory_angles, pairs_per_axis, query_angles, rotate
from vseg_ros.virst.spatial_grid import SpatialGrid


class RotaryAttention(nn.Module):
    """
    Cross-attention from the queries of frames to the cells of frames.

    Args:
        width: of queries and cells; a multiple of `heads`.
        heads: number of heads.
        grid: G, rows and columns of the cells of a frame.
        dropout: of the attention's weights, 0..1.

    Raises:
        ValueError: the width does not divide into heads that can carry three axes.

    """

    def __init__(self, width: int, heads: int, grid: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f'a width of {width} does not divide into {heads} heads: '
                             'choose a multiple')
        pairs_per_axis(width // heads)
        self.heads = heads
        self.grid = grid
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """
        Attend.

        Args:
            queries: float [B, N, T, width].
            memory: float [C, T, G * G, width], cells row by row; B / C samples in a row share
                one.

        Returns:
            float [B, N, T, width].

        """
        _, prompts, frames, width = queries.shape
        turns = query_angles(frames, width // self.heads, queries).repeat(prompts, 1)
        asked = rotate(self._split(self.query(queries)), turns)
        turns = memory_angles(frames, self.grid, width // self.heads, memory)
        keys = rotate(self._split(self.key(memory)), turns)
        found = F.scaled_dot_product_attention(
            _together(asked, len(keys)), keys, self._split(self.value(memory)),
            dropout_p=self.dropout if self.training else 0.0)
        found = _together(found, len(asked))
        attended: Tensor = self.output(found.transpose(1, 2).reshape(queries.shape))
        return attended

    def _split(self, tokens: Tensor) -> Tensor:
        """Split float [B, X, Y, heads * d] into heads: [B, heads, X * Y, d]."""
        split = (tokens.shape[0], tokens.shape[1] * tokens.shape[2], self.heads, -1)
        return tokens.reshape(split).transpose(1, 2)


class FusionLayer(nn.Module):
    """A layer of the second fusion; each of its three sums is normalised."""

    def __init__(self, width: int, heads: int, grid: int, dropout: float) -> None:
        super().__init__()
        self.cross_attention = RotaryAttention(width, heads, grid, dropout)
        self.cross_norm = nn.LayerNorm(width)
        self.self_attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.self_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, memory: Tensor, padding: Tensor | None) -> Tensor:
        """
        Update the queries.

        Args:
            queries: float [B, N, T, width].
            memory: float [C, T, G * G, width].
            padding: bool [B, N * T], True where a query is not real; None if all are.

        Returns:
            float [B, N, T, width].

        """
        flat = queries.flatten(1, 2)
        seen, _ = self.self_attention(flat, flat, flat, key_padding_mask=padding,
                                      need_weights=False)
        queries = self.self_norm(queries + self.dropout(seen.reshape(queries.shape)))
        queries = self.cross_norm(queries + self.dropout(self.cross_attention(queries, memory)))
        updated: Tensor = self.norm(queries + self.dropout(self.feed_forward(queries)))
        return updated


class FramePrompter(nn.Module):
    """
    Makes of the hidden state of a [SEG] token one prompt a frame.

    Args:
        language_width: D, of the language model's hidden states.
        width: of the prompts, as SAM 2's mask decoder has it; a multiple of `heads`.
        features: C, channels of SAM 2's features.
        grid: G, rows and columns of the grid of a frame.
        steps: convolutions that lead to the grid.
        heads: of both attentions.
        layers: number of layers.
        dropout: 0..1.
        positions: whether `places` are given and added to the features. The released model does
            without them: its features come of an encoder that has learnt where they lie.

    Raises:
        ValueError: the width does not divide into heads that can carry three axes.

    """

    def __init__(self, language_width: int, width: int = 256, features: int = 256, grid: int = 8,
                 steps: int = 3, heads: int = 8, layers: int = 2, dropout: float = 0.1,
                 positions: bool = False) -> None:
        super().__init__()
        self.positions = positions
        self.grid = SpatialGrid(features, width, grid, steps)
        self.projection = nn.Linear(language_width, width)
        self.layers = nn.ModuleList(
            FusionLayer(width, heads, grid, dropout) for _ in range(layers))

    def forward(self, hidden: Tensor, features: Tensor, mask: Tensor | None = None,
                places: Tensor | None = None) -> Tensor:
        """
        Make the prompts.

        Args:
            hidden: F'_ST, float [B, N, D].
            features: SAM 2's features of the sampled frames, float [B, T, C, h, w].
            mask: bool [B, N], True where a [SEG] token is real; None if all are. What comes out
                for the others is finite, but means nothing.
            places: float [C, h, w], only and always with `positions`.

        Returns:
            float [B, N, T, width].

        Raises:
            ValueError: the features do not give the grid, or `places` are missing or unasked for.

        """
        return self.refine(hidden, self.tokens(features, places), mask)

    def tokens(self, features: Tensor, places: Tensor | None = None) -> Tensor:
        """
        Make the grid tokens, which are each frame's own and can be kept between questions.

        Args:
            features: float [B, T, C, h, w].
            places: float [C, h, w], only and always with `positions`.

        Returns:
            S'_down, float [B, T, G * G, width].

        Raises:
            ValueError: as in `forward`.

        """
        if self.positions != (places is not None):
            raise ValueError('places are missing: this prompter was made with positions'
                             if self.positions else
                             'places are not asked for: make the prompter with positions')
        tokens: Tensor = self.grid(features if places is None else features + places)
        return tokens

    def refine(self, hidden: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """
        Make the prompts from grid tokens.

        Args:
            hidden: F'_ST, float [B, N, D].
            tokens: S'_down from `tokens`, float [C, T, G * G, width]; B / C samples in a row
                share one.
            mask: bool [B, N], as in `forward`.

        Returns:
            F~_ST, float [B, N, T, width].

        """
        frames = tokens.shape[1]
        queries = _repeated(self.projection(hidden), frames)
        padding = None if mask is None else _padding(mask, frames)
        for layer in self.layers:
            queries = layer(queries, tokens, padding)
        return queries


class ProjectedPrompts(nn.Module):
    """
    The ablation without a second fusion: one and the same prompt for all frames.

    Called like `FramePrompter`; of the features only the number of frames is used. As in the
    released code a single linear layer takes the place of the fusion.

    Args:
        language_width: D, of the language model's hidden states.
        width: of the prompts.

    """

    def __init__(self, language_width: int, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(language_width, width)

    def forward(self, hidden: Tensor, features: Tensor, mask: Tensor | None = None,
                places: Tensor | None = None) -> Tensor:
        """Project float [B, N, D] and repeat it for T frames: [B, N, T, width]."""
        return _repeated(self.projection(hidden), features.shape[1])


def _together(tokens: Tensor, batch: int) -> Tensor:
    """Put samples in a row into one, or take them apart again: [B, h, Q, d] to `batch` samples."""
    samples, heads, count, width = tokens.shape
    if samples == batch:
        return tokens
    if samples > batch:
        tokens = tokens.view(batch, samples // batch, heads, count, width)
        return tokens.transpose(1, 2).reshape(batch, heads, -1, width)
    tokens = tokens.view(samples, heads, batch // samples, -1, width)
    return tokens.transpose(1, 2).reshape(batch, heads, -1, width)


def _repeated(tokens: Tensor, frames: int) -> Tensor:
    """Repeat [B, N, d] for every frame, without a copy: [B, N, T, d]."""
    return tokens.unsqueeze(2).expand(-1, -1, frames, -1)


def _padding(mask: Tensor, frames: int) -> Tensor:
    """Mark the queries that nothing may attend to: bool [B, N] of real tokens -> [B, N * T]."""
    # with nothing left to attend to, the softmax of a sample without tokens would not be finite
    padded = ~mask & mask.any(1, keepdim=True)
    return _repeated(padded[..., None], frames).flatten(1)
