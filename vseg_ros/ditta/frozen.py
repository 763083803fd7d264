"""
The frozen stage of DiTTA: one frame at a time, with the frame before as its only memory.

The add-on's output is read only where the plain branch is unreliable (Eq. 3), so it is computed
only there. The embedding and logits of frame t - 1 are those kept from its own turn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vseg_ros.ditta.fusion import fusion_weight
from vseg_ros.ditta.temporal_addon import FrozenAddon
from vseg_ros.models.labelling import Scores, best_class, score_pixels
from vseg_ros.models.reliability import upsample
from vseg_ros.models.segmenter import Decoded


class FrozenFusion:
    """
    Fuses each frame with the one before.

    Args:
        addon: the adapted add-on.
        tau: reliability below which a pixel listens to the frame before.

    """

    def __init__(self, addon: FrozenAddon, tau: float) -> None:
        self.addon = addon
        self.tau = tau
        self._before: Decoded | None = None

    def forget(self) -> None:
        """Drop the frame before, at a cut or a change of size."""
        self._before = None

    @torch.no_grad()
    def step(self, decoded: Decoded, size: tuple[int, int]) -> tuple[Scores, Tensor]:
        """
        Score the pixels of the next frame.

        Args:
            decoded: the plain branch at 1/4 resolution.
            size: the segmenter's input size.

        Returns:
            the scored pixels at input size, and their reliability, float32 [H, W].

        """
        before, self._before = self._before, decoded
        scored = score_pixels(decoded.logits, size)
        sure = scored.reliability
        if before is None or before.logits.shape != decoded.logits.shape or self.tau <= 0:
            return scored, sure
        weak = sure < self.tau
        height, width = decoded.logits.shape[-2:]
        cells = _cells_of(weak, (height, width))
        temporal, _ = self.addon.forward_where(
            decoded.embedding[0], before.embedding[0], before.logits[0], cells)
        return self._mix(scored, sure, weak, upsample(temporal[None], size)[0])

    def _mix(self, scored: Scores, sure: Tensor, weak: Tensor, temporal: Tensor,
             ) -> tuple[Scores, Tensor]:
        """Eq. 3 at the weak pixels; the plain scores are replaced there."""
        places = weak.flatten().nonzero().squeeze(1)
        if not len(places):
            return scored, sure
        log_addon = temporal.flatten(1).index_select(1, places).log_softmax(0)
        addon = log_addon.exp()
        entropy = -(addon * log_addon).sum(0)
        # the most uncertain pixel of the add-on is one of the weak ones, or near it
        addon_sure = 1 - entropy / entropy.max().clamp_min(1e-12)
        plain_sure = sure.flatten().index_select(0, places)
        weight = fusion_weight(plain_sure, addon_sure)
        log_sum = scored.log_sum.flatten().index_select(0, places)
        plain = (scored.scores.flatten(1).index_select(1, places) - log_sum).exp()
        mixed = weight * plain + (1 - weight) * addon
        fused = mixed.clamp_min(1e-30).log() + log_sum
        labels = best_class(mixed, scored.labels.dtype)
        scored.scores.view(len(mixed), -1).index_copy_(1, places, fused)
        scored.labels.view(-1).index_copy_(0, places, labels)
        sure = sure.clone()
        sure.view(-1).index_copy_(0, places, weight * plain_sure + (1 - weight) * addon_sure)
        return scored, sure


def _cells_of(weak: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells at 1/4 resolution that bilinear upsampling reads for the weak pixels."""
    # the adjoint of the upsampling sums, for each cell, its weights in the pixels given
    shares = torch.ops.aten.upsample_bilinear2d_backward(
        weak[None, None].float(), list(weak.shape), [1, 1, *size], False)
    return shares[0, 0] > 0  # type: ignore[no-any-return]
