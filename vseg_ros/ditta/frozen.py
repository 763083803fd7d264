"""
The frozen stage of DiTTA: one frame at a time, with the frame before as its only memory.

Both branches are fused (Eq. 3) at the resolution they are computed at, 1/4 of the segmenter's
input, and the fused distribution is upsampled once. The add-on is read only where the plain branch
is unreliable, so it is computed only there. Embedding and logits of frame t - 1 are those kept
from its own turn; with `fusion.memory: fused` the logits kept are the fused ones, so that what was
seen before frame t - 1 is still heard, the fainter the longer ago.

A GPU computes the add-on everywhere: that costs it little, and it need not wait for the processor
to learn how many cells are unreliable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from vseg_ros.ditta.fusion import fusion_weight
from vseg_ros.ditta.quantized_addon import QuantizedAddon
from vseg_ros.ditta.quantized_linear import QuantizedRows, multiplies_integers
from vseg_ros.ditta.sparse_attention import Attended
from vseg_ros.ditta.temporal_addon import FrozenAddon, TemporalAddon
from vseg_ros.models.labelling import Scores, score_pixels
from vseg_ros.models.reliability import entropy, reliability_from_entropy
from vseg_ros.models.runtime import mixed_dtype
from vseg_ros.models.segmenter import Decoded
from vseg_ros.settings import FusionSettings, Precision

Tokens = TypeVar('Tokens')


class SparseAddon(Protocol[Tokens]):
    """A `FrozenAddon`, or what computes the same."""

    def tokens(self, embedding: Tensor) -> Tokens:
        """Lay an embedding, float [D, h, w], out as `forward_where` wants it."""
        ...

    def forward_where(self, tokens: Tokens, previous_tokens: Tokens, previous_logits: Tensor,
                      wanted: Tensor) -> Attended:
        """Compute Eq. 1 at some places, bool [h, w]."""
        ...


@dataclass(frozen=True)
class _Before(Generic[Tokens]):
    """What is kept of the frame before: tokens of its embedding, and logits [1, C, h, w]."""

    tokens: Tokens
    logits: Tensor


class FrozenFusion(Generic[Tokens]):
    """
    Fuses each frame with the one before.

    Args:
        addon: the adapted add-on.
        settings: when a cell listens to the frame before, and to which of its logits.

    """

    def __init__(self, addon: SparseAddon[Tokens], settings: FusionSettings) -> None:
        self.addon = addon
        self.settings = settings
        self._before: _Before[Tokens] | None = None

    def forget(self) -> None:
        """Drop the frame before, at a cut or a change of size."""
        self._before = None

    @torch.no_grad()
    def step(self, decoded: Decoded, size: tuple[int, int]) -> Scores:
        """
        Score the pixels of the next frame.

        Args:
            decoded: the plain branch at 1/4 resolution.
            size: the segmenter's input size.

        Returns:
            the scored pixels at input size.

        """
        if self.settings.tau <= 0:
            return score_pixels(decoded.logits, size)
        before, fused = self._before, decoded.logits
        tokens = self.addon.tokens(decoded.embedding[0])
        if before is not None and before.logits.shape == fused.shape:
            fused = self._fuse(decoded.logits, tokens, before)
        kept = fused if self.settings.memory == 'fused' else decoded.logits
        self._before = _Before(tokens, kept)
        return score_pixels(fused, size)

    def _fuse(self, logits: Tensor, tokens: Tokens, before: _Before[Tokens]) -> Tensor:
        """Eq. 3 at the unreliable cells: log probabilities [1, C, h, w]."""
        plain = logits.log_softmax(1)
        sure = reliability_from_entropy(entropy(plain))[0]
        weak = sure < self.settings.tau
        spoken = self.addon.forward_where(tokens, before.tokens, before.logits[0], weak)
        if not len(spoken.places):
            return plain
        addon = spoken.values.T.log_softmax(0)
        # the most uncertain of the cells that are read stands for the frame's
        addon_sure = reliability_from_entropy(entropy(addon[None, :, None]))[0, 0]
        weight = fusion_weight(sure.flatten().index_select(0, spoken.places), addon_sure)
        fused = plain.flatten(2)
        alone = fused[0].index_select(1, spoken.places).exp()
        mixed = _without_nan(weight * alone + (1 - weight) * addon.exp(), alone)
        fused[0].index_copy_(1, spoken.places,
                             mixed.clamp_min_(torch.finfo(mixed.dtype).tiny).log_())
        return fused.view_as(plain)


class DenseFusion(FrozenFusion[Tensor]):
    """
    The same with the add-on computed everywhere, whatever cells are unreliable.

    Args:
        addon: the adapted add-on.
        settings: as above.

    """

    def __init__(self, addon: FrozenAddon, settings: FusionSettings) -> None:
        super().__init__(addon, settings)
        self._dense = addon

    def _fuse(self, logits: Tensor, tokens: Tensor, before: _Before[Tensor]) -> Tensor:
        plain = logits.log_softmax(1)
        sure = reliability_from_entropy(entropy(plain))
        weak = sure < self.settings.tau
        temporal = self._dense.forward_everywhere(tokens, before.tokens, before.logits[0])
        addon = temporal[None].log_softmax(1)
        # cells that do not listen have no say in how unsure the add-on is at most
        doubt = torch.where(weak, entropy(addon), torch.zeros_like(sure))
        weight = fusion_weight(sure, reliability_from_entropy(doubt))[:, None]
        alone = plain.exp()
        mixed = _without_nan(weight * alone + (1 - weight) * addon.exp(), alone)
        return torch.where(weak[:, None],
                           mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log(), plain)


def _without_nan(mixed: Tensor, plain: Tensor) -> Tensor:
    """Take the plain branch where the mixture is NaN, which else would be handed on for ever."""
    return torch.where(mixed >= 0, mixed, plain)


Fusion = FrozenFusion[Tensor] | FrozenFusion[QuantizedRows]
"""A fusion with any add-on."""


def create_fusion(addon: TemporalAddon, settings: FusionSettings, precision: Precision,
                  device: torch.device) -> Fusion:
    """
    Choose the fastest way to fuse on a device.

    Args:
        addon: the adapted add-on, on the device; copied.
        settings: of the fusion.
        precision: 'auto' is 8-bit integers on a CPU that multiplies them natively, else bfloat16
            wherever that is native, else float32.
        device: where.

    """
    dtype = mixed_dtype(precision, device)
    if device.type == 'cuda':
        return DenseFusion(addon.fold(dtype), settings)
    if precision == 'auto' and multiplies_integers():
        return FrozenFusion(QuantizedAddon(addon.fold(), dtype), settings)
    return FrozenFusion(addon.fold(dtype), settings)
