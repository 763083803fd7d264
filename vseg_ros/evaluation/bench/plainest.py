"""
The plainest correct versions of what this package computes in cleverer ways.

They are written to be read beside the paper: attention over all places with a mask, the decode
head as transformers has it, both frames through the backbone every time, every loss at every
pixel of the input, one object after the other. The tests hold them to the same numbers as the
package; the benchmark measures what the difference in computing is worth.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.ditta.adaptation import total_loss
from vseg_ros.ditta.fusion import fuse
from vseg_ros.ditta.model import Branches, DittaModel
from vseg_ros.models.reliability import reliability, upsample
from vseg_ros.models.segmenter import Decoded, Features, ImageSegmenter
from vseg_ros.settings import AdaptationSettings

Attention = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def full_attention(query: Tensor, key: Tensor, value: Tensor, radius: int) -> Tensor:
    """
    Attend from everywhere to everywhere and mask what is outside the window.

    Args:
        query: float [1, D, h, w].
        key: same shape.
        value: float [1, C, h, w].
        radius: of the window.

    Returns:
        float [1, C, h, w].

    """
    height, width = query.shape[-2:]
    y = torch.arange(height).repeat_interleave(width)
    x = torch.arange(width).repeat(height)
    far = ((y[:, None] - y).abs_() > radius).logical_or_((x[:, None] - x).abs_() > radius)
    scores = query[0].flatten(1).T @ key[0].flatten(1)
    weights = scores.masked_fill_(far, float('-inf')).softmax(-1)
    return (weights @ value[0].flatten(1).T).T.reshape(value.shape)


def decode_unfused(decoder: nn.Module, features: Features) -> Decoded:
    """
    Run transformers' own decode head: every level upsampled, then concatenated and fused.

    Args:
        decoder: `SegformerDecoder`.
        features: of the backbone.

    """
    head: nn.Module = decoder.head  # type: ignore[assignment]
    seen: list[Tensor] = []
    dropout: nn.Module = head.dropout  # type: ignore[assignment]
    hook = dropout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        logits: Tensor = head(features)
    finally:
        hook.remove()
    return Decoded(seen[0], logits)


@dataclass(frozen=True)
class Computation:
    """
    How the costly parts are computed; the default is the plainest.

    Attributes:
        decode: decoder and features -> `Decoded`.
        attend: query, key, value and radius -> attended values.

    """

    decode: Callable[[nn.Module, Features], Decoded] = decode_unfused
    attend: Attention = full_attention


def two_branches(model: DittaModel, features: Features, how: Computation) -> Branches:
    """
    Run decoder, add-on and projection head (Sec. 3.1).

    Args:
        model: the networks.
        features: of frame t - 1 and frame t, [2, ...] each; or of a first frame alone, [1, ...].
        how: to compute.

    """
    embedding, logits = how.decode(model.decoder, features)
    projected = embedding[-1:]
    for layer in model.projection:
        projected = layer(projected)
    if len(embedding) == 1:
        return Branches(logits, None, projected)
    query = model.addon.query_layer(embedding[1:].movedim(1, -1)).movedim(-1, 1)
    key = model.addon.key_layer(embedding[:1].movedim(1, -1)).movedim(-1, 1)
    temporal = how.attend(query, key, logits[:1], model.addon.radius)
    return Branches(logits[1:], temporal, projected)


class PlainFrozen:
    """
    One frame of the frozen stage, everything computed everywhere (Eq. 1 to 3).

    Args:
        segmenter: the backbone.
        model: decoder and add-on.
        tau: reliability below which a pixel listens to the frame before.

    """

    def __init__(self, segmenter: ImageSegmenter, model: DittaModel, tau: float) -> None:
        self.segmenter = segmenter
        self.model = model
        self.tau = tau

    @torch.no_grad()
    def step(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """
        Label a frame.

        Args:
            images: uint8 [2, H, W, 3], frame t - 1 and frame t.

        Returns:
            labels of frame t, int64 [H, W]; reliability of the plain branch, float [h, w].

        """
        size = (images.shape[1], images.shape[2])
        branches = two_branches(self.model, self.segmenter.encode(images), Computation())
        assert branches.temporal is not None
        plain, addon = branches.plain.log_softmax(1), branches.temporal.log_softmax(1)
        sure = reliability(plain)
        fused = fuse(plain.exp(), addon.exp(), sure, reliability(addon), self.tau)
        return upsample(fused.log(), size).argmax(1)[0], sure[0]


class PlainAdaptation:
    """
    The optimisation steps of the released code (Sec. 3.3, Eq. 5 to 8).

    The loss is cross entropy of the logits.

    Args:
        model: adapted in place.
        encode: numbers of the frames wanted -> their features, [n, ...] each; called for the
            model and again for its momentum copy, as each has a backbone of its own.
        settings: learning rate, weights, momentum, temperature and batch normalisation.
        ignore_id: label that is not learned.
        how: to compute the rest.
        class_weights: weight of each class in the distillation loss, float [C]; None is alike.

    """

    def __init__(self, model: DittaModel, encode: Callable[[Sequence[int]], Features],
                 settings: AdaptationSettings, ignore_id: int, how: Computation | None = None,
                 class_weights: Tensor | None = None) -> None:
        self.model = model.requires_grad_(True).train()
        if settings.batch_norm == 'frozen':
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        self.momentum = copy.deepcopy(model).requires_grad_(False)
        self.encode = encode
        self.settings = settings
        self.ignore_id = ignore_id
        self.how = how or Computation()
        self.class_weights = class_weights
        self.prototypes: dict[int, Tensor] = {}
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)

    def step(self, number: int, label: Tensor, objects: Tensor) -> dict[str, float]:
        """
        Take one step.

        Args:
            number: of frame t, from 0.
            label: distillation label, int64 [H, W].
            objects: object ids, int64 [H, W]; 0 is no object.

        Returns:
            the losses by name.

        """
        wanted = [number - 1, number] if number else [number]
        live = two_branches(self.model, self.encode(wanted), self.how)
        with torch.no_grad():
            kept = two_branches(self.momentum, self.encode(wanted), self.how)
        losses = {'distill': self._distill(live.plain, label)}
        if live.temporal is not None:
            losses['distill_addon'] = self._distill(live.temporal, label)
        losses['contrastive'] = self._contrast(live, kept, objects)
        total = total_loss(losses, self.settings)
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(self.momentum.parameters(), self.model.parameters(),
                                  strict=True):
                slow.mul_(self.settings.momentum).add_(fast, alpha=1 - self.settings.momentum)
        return {name: float(loss.detach()) for name, loss in losses.items()} | {
            'total': float(total.detach())}

    def _distill(self, logits: Tensor, label: Tensor) -> Tensor:
        """Eq. 5 at every pixel."""
        full = upsample(logits, (label.shape[0], label.shape[1]))
        return F.cross_entropy(full, label[None], self.class_weights,
                               ignore_index=self.ignore_id, reduction='none').mean()

    def _contrast(self, live: Branches, kept: Branches, objects: Tensor) -> Tensor:
        """Eq. 6 and 7, one object after the other."""
        size = (objects.shape[0], objects.shape[1])
        ids = [i for i in torch.unique(objects).tolist() if i]
        features = _unit(live.features, size)
        if not ids:
            return features.sum() * 0
        target = torch.full(size, -100)
        with torch.no_grad():
            sure = reliability(upsample(kept.plain, size).log_softmax(1))[0]
            momentum = _unit(kept.features, size)
            for slot, i in enumerate(ids):
                inside = objects == i
                fresh = F.normalize((momentum[:, inside] * sure[inside]).mean(1), dim=0)
                if i in self.prototypes:
                    fresh = F.normalize((fresh + self.prototypes[i]) / 2, dim=0)
                self.prototypes[i] = fresh
                target[inside] = slot
        stacked = torch.stack([self.prototypes[i] for i in ids])
        similarity = (stacked @ features.flatten(1)).view(1, -1, *size)
        return F.cross_entropy(similarity / self.settings.temperature, target[None],
                               reduction='none').mean()


def _unit(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Return features of unit length at every pixel: [1, D, h, w] -> [D, H, W]."""
    return F.normalize(upsample(F.normalize(features, dim=1), size), dim=1)[0]
