"""
The frozen stage of DiTTA as one module without state of its own, arranged for a graph.

It computes what `FrozenFusion` computes (Eq. 1 to 3), for every cell instead of the unreliable
ones only: Eq. 1 is answered everywhere, and where the plain branch is reliable the answer is left
alone. The highest entropy of the add-on is taken, as there, among the cells that listen to it, so
that both give the same labels. What frame t hands to t + 1 is the keys, made from its embedding
already, and its logits, cell by cell.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from vseg_ros.ditta.fusion import fusion_weight
from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.onnx_attention import DenseWindowAttention
from vseg_ros.models.onnx_scores import label_and_reliability
from vseg_ros.models.reliability import entropy, reliability_from_entropy
from vseg_ros.models.runtime import fold_decoder
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.settings import FusionSettings


class DittaStep(nn.Module):
    """
    One frame, and what the one before handed on.

    Args:
        segmenter: what was adapted, float32, on the CPU; copied.
        model: its adapted decoder and add-on; copied.
        settings: of the fusion.
        cells: height and width of the decoder's maps, if they are fixed.
        dtype: number format of the networks, queries and keys; probabilities are float32.

    """

    def __init__(self, segmenter: ImageSegmenter, model: DittaModel, settings: FusionSettings,
                 cells: tuple[int, int] | None = None, dtype: torch.dtype = torch.float32,
                 ) -> None:
        super().__init__()
        self.settings = settings
        self.dtype = dtype
        self.segmenter = copy.deepcopy(segmenter).to(dtype)
        self.segmenter.decoder = fold_decoder(model.decoder).to(dtype)
        self.addon = model.addon.fold(dtype)
        self.attention = DenseWindowAttention(self.addon.radius, cells, dtype)

    def forward(self, image: Tensor, keys: Tensor | None = None, logits: Tensor | None = None,
                seen: Tensor | None = None) -> tuple[Tensor, ...]:
        """
        Segment a frame.

        Args:
            image: uint8 [1, H, W, 3], RGB.
            keys: of frame t - 1, `dtype` [h * w, D]; None, with what follows, if there is none.
            logits: of frame t - 1, float32 [h * w, C].
            seen: int64 [1], 0 where there was no frame t - 1.

        Returns:
            labels, uint8 [H, W]; confidence, uint8 [H, W]; scores, float32 [C, h, w]; and with a
            frame t - 1, its successors of `keys`, `logits` and `seen`.

        """
        # TensorRT has uint8 at the border of a graph only
        features = self.segmenter.backbone(self.segmenter.normalize(image.to(self.dtype)))
        decoded = self.segmenter.decoder(features)
        spoken = decoded.logits.float()
        plain = spoken.log_softmax(1)
        fused = plain
        size = (image.shape[1], image.shape[2])
        if keys is None or logits is None or seen is None:
            return (*_scored(fused, size), fused[0])
        height, width = plain.shape[2:]
        tokens = decoded.embedding[0].flatten(1).T
        attended = self.attention(self.addon.query_layer(tokens), keys, logits, (height, width))
        fused = self._fuse(plain, attended.T.reshape(plain.shape).log_softmax(1), seen)
        handed = fused if self.settings.memory == 'fused' else spoken
        return (*_scored(fused, size), fused[0], self.addon.key_layer(tokens),
                handed[0].flatten(1).T, (seen + 1).clamp_max(1))

    def _fuse(self, plain: Tensor, temporal: Tensor, seen: Tensor) -> Tensor:
        """
        Eq. 3.

        Args:
            plain: log probabilities, float32 [1, C, h, w].
            temporal: likewise, of the add-on.
            seen: as in `forward`.

        Returns:
            log probabilities [1, C, h, w].

        """
        sure = reliability_from_entropy(entropy(plain))
        weak = (sure < self.settings.tau) & (seen > 0)
        # cells that do not listen to the add-on have no say in how unsure it is at most
        doubt = torch.where(weak, entropy(temporal), torch.zeros_like(sure))
        weight = fusion_weight(sure, reliability_from_entropy(doubt))[:, None]
        mixed = weight * plain.exp() + (1 - weight) * temporal.exp()
        # the plain branch where the mixture is NaN, which else would be handed on for ever
        return torch.where(weak[:, None] & (mixed > -1),
                           mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log(), plain)


def _scored(scores: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Labels and confidence, uint8 [H, W], from log probabilities [1, C, h, w]."""
    labels, sure = label_and_reliability(scores, size)
    return labels, (sure * 255).round().to(torch.uint8)
