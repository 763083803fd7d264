"""
The Spatio-Temporal Memory Decoder (Sec. 3.3, Eq. 3 to 6).

The query-conditioned features of all frames and scales of a clip are one memory (Eq. 3), to
which a temporal and a scale embedding is added. The queries attend to it block by block (Eq. 4)
and are then the same for every frame. The features of each frame are fused to one map (Eq. 5),
and each query gives a class and, multiplied with that map, a mask; the class scores of a pixel
are the classes of the queries weighted by their masks (Eq. 6), as in Mask2Former.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.time2general.deformable_attention import (
    ClipDeformableAttention,
    ClipMemory,
    Size,
)
from vseg_ros.time2general.set_losses import ClipPrediction
from vseg_ros.training_settings import Time2GeneralModelSettings

LEAST_SCORE = 1e-6
"""Scores are kept above this before their logarithm is taken."""


class DecoderBlock(nn.Module):
    """One step of Eq. 4: S <- FFN(S + Defor.Attn.(S, M)), each sum normalised."""

    def __init__(self, settings: Time2GeneralModelSettings, scales: int) -> None:
        super().__init__()
        width = settings.width
        self.attention = ClipDeformableAttention(
            width, settings.heads, settings.clip_length, scales, settings.points)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, settings.feed_forward), nn.ReLU(),
            nn.Linear(settings.feed_forward, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, memory: ClipMemory, embeddings: Tensor) -> Tensor:
        """Update queries, float [B, Q, d]."""
        queries = self.attention_norm(queries + self.attention(queries, memory, embeddings))
        updated: Tensor = self.norm(queries + self.feed_forward(queries))
        return updated


class PixelFusion(nn.Module):
    """
    Fuse (Eq. 5): a projection a scale, brought to the finest size, added, normalised.

    Args:
        width: width d.
        scales: number of scales.
        upsampling: how often the sum is then doubled in size by a learned layer.

    """

    def __init__(self, width: int, scales: int, upsampling: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            nn.Linear(width, width, bias=not scale) for scale in range(scales))
        self.norm = nn.LayerNorm(width)
        self.upsample = nn.Sequential(*(
            layer for _ in range(upsampling)
            for layer in (nn.ConvTranspose2d(width, width, 2, 2), nn.GELU())))

    def forward(self, modulated: Sequence[Tensor], sizes: Sequence[Size]) -> Tensor:
        """
        Fuse the scales of B frames.

        Args:
            modulated: U, one float [B, N, d] a scale.
            sizes: height and width of each.

        Returns:
            P, float [B, d, h, w].

        """
        finest = max(sizes)
        total: Tensor | None = None
        for tokens, size, project in zip(modulated, sizes, self.project, strict=True):
            levelled = project(tokens)
            if size != finest:
                planes = levelled.transpose(1, 2).reshape(len(levelled), -1, *size)
                planes = F.interpolate(planes, size=finest, mode='bilinear', align_corners=False)
                levelled = planes.flatten(2).transpose(1, 2)
            total = levelled if total is None else total + levelled
        fused = F.gelu(self.norm(total)).transpose(1, 2)
        upsampled: Tensor = self.upsample(fused.reshape(*fused.shape[:2], *finest))
        return upsampled


class QueryHead(nn.Module):
    """g of Eq. 6: from queries and pixels to classes and masks."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(width, classes + 1)
        self.mask = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width),
                                  nn.ReLU(), nn.Linear(width, width))

    def forward(self, queries: Tensor, pixels: Tensor) -> ClipPrediction:
        """
        Predict.

        Args:
            queries: float [B, Q, d].
            pixels: P of each frame, float [B, T, d, h, w].

        """
        masks = torch.einsum('bqd,btdhw->bqthw', self.mask(queries), pixels)
        return ClipPrediction(self.classify(queries), masks)


def class_scores(prediction: ClipPrediction) -> Tensor:
    """
    Turn classes and masks of the queries into logits of the pixels (Eq. 6).

    The score of class k is sum_q p_q(k) sigmoid(m_q), and the logits are its logarithm, so that
    their softmax is the share of each class in the scores.

    Returns:
        float32 [B, T, K, h, w].

    """
    classes = prediction.class_logits.float().softmax(-1)[..., :-1]
    masks = prediction.mask_logits.float().sigmoid()
    return torch.einsum('bqk,bqthw->btkhw', classes, masks).clamp_min(LEAST_SCORE).log()


class MemoryDecoder(nn.Module):
    """
    Queries that see the clip, and what they predict for its frames.

    Args:
        settings: sizes.
        scales: number of scales L.
        classes: number of classes K.

    """

    def __init__(self, settings: Time2GeneralModelSettings, scales: int, classes: int) -> None:
        super().__init__()
        self.temporal = nn.Parameter(torch.randn(settings.clip_length, settings.width) * 0.02)
        self.scale = nn.Parameter(torch.randn(scales, settings.width) * 0.02)
        self.blocks = nn.ModuleList(
            DecoderBlock(settings, scales) for _ in range(settings.decoder_blocks))
        self.fuse = PixelFusion(settings.width, scales, settings.upsampling)
        self.head = QueryHead(settings.width, classes)

    def update(self, queries: Tensor, memory: ClipMemory) -> list[Tensor]:
        """
        Let the queries attend to the memory (Eq. 3 and 4).

        Args:
            queries: S, float [Q, d].
            memory: B clips.

        Returns:
            the queries after each block, float [B, Q, d] each.

        """
        batch, frames = memory.cells.shape[:2]
        embeddings = self.temporal[:frames, None] + self.scale
        state = queries.expand(batch, -1, -1)
        states = []
        for block in self.blocks:
            state = block(state, memory, embeddings)
            states.append(state)
        return states
