"""
The adaptation loop of DiTTA (Sec. 3.2 and 3.3, total loss Eq. 8).

    L = w_d (L_distill + L_distill_addon) + w_c L_contrastive

The paper's weights are 1; a weight of 0 leaves a loss out, which is how its parts are ablated
(Table 2). A few passes over the warm-up frames train decoder, add-on and projection head; the
backbone's features are given and stay as they are. A momentum copy of the model provides the
prototypes.

AdamW moves a weight by about its learning rate in every step, however small the gradient is.
Add-on and head begin at random and need that; the decoder is trained already, and many such steps
lead it away from what it knows. So beyond `decoder_steps` its rate falls as their number grows
(ours, not the paper's).

At a constant rate the weights never come to rest: those of a single step depend on the frame it
was taken on. What is returned is their mean over the last steps, one pass by default (ours too).

A step that yields anything but finite numbers ends the loop with the weights of the last pass
that was good.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vseg_ros.ditta.contrastive import Prototypes, contrastive_loss, sized_features
from vseg_ros.ditta.distillation import distillation_loss, soft_distillation_loss
from vseg_ros.ditta.model import Branches, DittaModel
from vseg_ros.models.reliability import reliability, upsample
from vseg_ros.models.segmenter import Features
from vseg_ros.settings import AdaptationSettings

Progress = Callable[[float], None]


@dataclass(frozen=True)
class WarmupSample:
    """
    What one warm-up frame teaches.

    Attributes:
        features: the backbone's, float32 [1, ...] each.
        label: distillation label, int64 [H, W] at the size of the losses.
        objects: object ids, int64 [H, W] likewise; 0 is no object.

    """

    features: Features
    label: Tensor
    objects: Tensor


@dataclass
class AdaptationResult:
    """
    What came of an adaptation.

    Attributes:
        model: the adapted model, in eval mode.
        history: the losses of every step.
        rolled_back: whether a step failed and the weights of an earlier pass are returned.

    """

    model: DittaModel
    history: list[dict[str, float]] = field(default_factory=list)
    rolled_back: bool = False


class AdaptationCancelledError(Exception):
    """The caller asked the loop to stop."""


def adapt(model: DittaModel, samples: Sequence[WarmupSample], settings: AdaptationSettings,
          ignore_id: int, progress: Progress | None = None,
          cancelled: Callable[[], bool] = lambda: False,
          class_weights: Tensor | None = None, temporal: bool = True,
          mixed: torch.dtype | None = None) -> AdaptationResult:
    """
    Adapt a model to the warm-up.

    Args:
        model: adapted in place.
        samples: the warm-up frames, in order of time.
        settings: learning rate, passes and losses.
        ignore_id: label that is not learned.
        progress: called with the share done, 0..1.
        cancelled: asked before every step.
        class_weights: weight of each class in the distillation loss, float [C]; None is alike.
        temporal: whether the add-on learns too; without it, every frame stands alone.
        mixed: number format in which decoder, add-on and projection head multiply, with weights,
            losses and gradients of weights in that of the model; None multiplies in that too.

    Raises:
        AdaptationCancelledError: `cancelled` said so.

    """
    steps = settings.passes * len(samples)
    loop = _AdaptationLoop(model, settings, ignore_id, class_weights, mixed,
                           decoder_rate(settings, steps))
    result = AdaptationResult(model)
    good = copy.deepcopy(model.state_dict())
    average = AveragedModel(model)
    last_unaveraged = steps - round(settings.averaged_share * steps)
    learns = settings.distillation > 0 or settings.contrastive > 0
    for _ in range(settings.passes if learns else 0):
        for index, sample in enumerate(samples):
            if cancelled():
                raise AdaptationCancelledError
            before = samples[index - 1].features if index and temporal else None
            losses = loop.step(sample, before)
            if losses is None:
                model.load_state_dict(good)
                result.rolled_back = True
                break
            result.history.append(losses)
            if len(result.history) > last_unaveraged:
                average.update_parameters(model)
            if progress is not None:
                progress(len(result.history) / steps)
        if result.rolled_back:
            break
        good = copy.deepcopy(model.state_dict())
    if average.n_averaged and not result.rolled_back:
        model.load_state_dict(average.module.state_dict())
    model.eval().requires_grad_(False)
    return result


def decoder_rate(settings: AdaptationSettings, steps: int) -> float:
    """
    Return the decoder's learning rate in an adaptation of so many steps.

    Args:
        settings: the learning rate of all else, and `decoder_steps`.
        steps: optimisation steps of the adaptation.

    """
    if not settings.decoder_steps or steps <= settings.decoder_steps:
        return settings.learning_rate
    return settings.learning_rate * settings.decoder_steps / steps


def total_loss(losses: Mapping[str, Tensor], settings: AdaptationSettings) -> Tensor:
    """
    Eq. 8: add the losses of a step, each times its weight.

    Args:
        losses: by name: `distill`, `distill_addon`, `contrastive`, at least one of them; [] each.
        settings: the weights.

    Returns:
        [].

    """
    return torch.stack([
        loss * (settings.contrastive if name == 'contrastive' else settings.distillation)
        for name, loss in losses.items()]).sum()


class _AdaptationLoop:
    """The model, its momentum copy, the prototypes and the optimiser."""

    def __init__(self, model: DittaModel, settings: AdaptationSettings, ignore_id: int,
                 class_weights: Tensor | None, mixed: torch.dtype | None,
                 decoder_rate: float) -> None:
        self.model = model.requires_grad_(True)
        self.mixed = mixed
        self.momentum = copy.deepcopy(model).requires_grad_(False)
        self.settings = settings
        self.ignore_id = ignore_id
        self.class_weights = class_weights
        self.prototypes = Prototypes()
        self.source = copy.deepcopy(model.decoder).requires_grad_(False).eval()
        self.source_logits: dict[int, Tensor] = {}
        learned_anew = [*model.addon.parameters(), *model.projection.parameters()]
        self.optimizer = torch.optim.AdamW([
            {'params': list(model.decoder.parameters()), 'lr': decoder_rate},
            {'params': learned_anew, 'lr': settings.learning_rate}])

    def step(self, sample: WarmupSample, before: Features | None) -> dict[str, float] | None:
        """Take one optimisation step; None if a loss or a weight is not finite."""
        self._set_modes()
        with self.model.projection.only(sample.objects > 0):
            branches = self._run(self.model, sample.features, before)
        losses = self._losses(branches, sample, before)
        total = total_loss(losses, self.settings)
        if not torch.isfinite(total):
            return None
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
            return None
        self._update_momentum()
        return {name: float(loss.detach()) for name, loss in losses.items()} | {
            'total': float(total.detach())}

    def _run(self, model: DittaModel, features: Features, before: Features | None) -> Branches:
        """Run a model; what comes of it is of the format of its features."""
        dtype = self.mixed or features[0].dtype
        if dtype == features[0].dtype:
            branches: Branches = model(features, before)
            return branches
        with torch.autocast(features[0].device.type, dtype):
            mixed: Branches = model(features, before)
        temporal = None if mixed.temporal is None else mixed.temporal.to(features[0].dtype)
        return Branches(mixed.plain.to(features[0].dtype), temporal,
                        mixed.features.to(features[0].dtype))

    def _losses(self, branches: Branches, sample: WarmupSample, before: Features | None,
                ) -> dict[str, Tensor]:
        losses = {}
        if self.settings.distillation:
            losses['distill'] = self._distill(branches.plain, sample)
            if branches.temporal is not None:
                losses['distill_addon'] = self._distill(branches.temporal, sample)
        if self.settings.contrastive:
            losses['contrastive'] = self._contrast(branches, sample, before)
        return losses

    def _contrast(self, branches: Branches, sample: WarmupSample, before: Features | None,
                  ) -> Tensor:
        """Eq. 7 of one sample, after its prototypes are brought up to date (Eq. 6)."""
        size = (sample.label.shape[0], sample.label.shape[1])
        with torch.no_grad(), self.momentum.projection.only(sample.objects > 0):
            # the frame before is needed for batch statistics alone: prototypes are of this frame
            pair = before if self.settings.batch_norm == 'batch' else None
            kept = self._run(self.momentum, sample.features, pair)
            sure = reliability(upsample(kept.plain, size).log_softmax(1))[0]
            ids, vectors = self.prototypes.update(
                sized_features(kept.features, size), sure, sample.objects)
        return contrastive_loss(sized_features(branches.features, size), sample.objects, ids,
                                vectors, self.settings.temperature)

    def _distill(self, logits: Tensor, sample: WarmupSample) -> Tensor:
        sized = upsample(logits, (sample.label.shape[0], sample.label.shape[1]))
        if self.settings.loss == 'released':
            sized = sized.softmax(1)
        label = sample.label
        if self.settings.targets == 'segmenter':
            label = self._source_label(sample).argmax(1)[0]
        if not self.settings.soft_labels:
            return distillation_loss(sized, label, self.ignore_id, self.class_weights)
        return soft_distillation_loss(
            sized, label, self._source_label(sample), self.settings.soft_labels,
            self.ignore_id, self.class_weights)

    @torch.no_grad()
    def _source_label(self, sample: WarmupSample) -> Tensor:
        """Return what the segmenter said of a sample before it was adapted: [1, C, H, W]."""
        if id(sample) not in self.source_logits:
            self.source_logits[id(sample)] = self.source(sample.features).logits
        size = (sample.label.shape[0], sample.label.shape[1])
        return upsample(self.source_logits[id(sample)], size).softmax(1)

    def _set_modes(self) -> None:
        for model in (self.model, self.momentum):
            model.train()
            if self.settings.batch_norm == 'frozen':
                for module in model.modules():
                    if isinstance(module, nn.modules.batchnorm._BatchNorm):
                        module.eval()

    @torch.no_grad()
    def _update_momentum(self) -> None:
        for kept, live in zip(self.momentum.parameters(), self.model.parameters(), strict=True):
            kept.lerp_(live, 1 - self.settings.momentum)
