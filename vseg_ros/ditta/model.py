"""
The two-branch model of DiTTA: a decoder, its temporal add-on and a projection head.

What adaptation changes, and what is saved afterwards, is exactly this module. The backbone
stays outside: its features of a warm-up frame are computed once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vseg_ros.ditta.contrastive import ProjectionHead
from vseg_ros.ditta.temporal_addon import TemporalAddon
from vseg_ros.models.segmenter import Decoded, Features


class Branches(NamedTuple):
    """
    Output for the later one of two consecutive frames.

    Attributes:
        plain: logits of the decoder alone, float [1, C, h, w].
        temporal: logits of the add-on, same shape; None for a frame without a predecessor.
        features: contrastive features, float [1, D, h, w].

    """

    plain: Tensor
    temporal: Tensor | None
    features: Tensor


class DittaModel(nn.Module):
    """
    Decoder, temporal add-on and projection head.

    Args:
        decoder: of an `ImageSegmenter`; it has an `embedding_width`.
        radius: of the add-on's attention window, in cells of the embedding.

    """

    def __init__(self, decoder: nn.Module, radius: int) -> None:
        super().__init__()
        width = int(decoder.embedding_width)  # type: ignore[arg-type]
        self.decoder = decoder
        self.addon = TemporalAddon(width, radius)
        self.projection = ProjectionHead(width)

    def forward(self, features: Features, before: Features | None) -> Branches:
        """
        Run both branches.

        Args:
            features: backbone features of frame t, [1, ...] each.
            before: those of frame t - 1, or None for the first frame.

        """
        if before is None:
            decoded: Decoded = self.decoder(features)
            return Branches(decoded.logits, None, self.projection(decoded.embedding))
        pair = tuple(torch.cat(levels) for levels in zip(before, features, strict=True))
        decoded = self.decoder(pair)
        # split, not sliced: the gradient of a slice is a whole map of zeros for each reader
        earlier, embedding = torch.split(decoded.embedding, 1)
        previous, logits = torch.split(decoded.logits, 1)
        temporal = self.addon(embedding, earlier, previous)
        return Branches(logits, temporal, self.projection(embedding))
