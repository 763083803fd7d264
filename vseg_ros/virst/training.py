"""
Training of VIRST in three stages.

    1  SAM 2 is frozen; both fusions and the language model (a large one: its LoRA) learn to
       prompt it, on anchors alone
    2  the mask decoder learns too, on single images (so may the memory, but nothing on a single
       image asks for it)
    3  everything but the backbone of the image encoder learns, over clips: random anchors are
       predicted, the other frames are propagated from them

A small language model that starts from nothing is trained alone before, as stage 0; a large one
comes trained. The losses are those of `losses.py` with the paper's weights. A model that starts
from nothing is told more, which the paper's do without: where to look and what it sees
(`hints.py`), and a share of the mask decoder's prompts, `told`, is the truth (`told_prompts.py`).
At the end SAM 2 alone may learn to draw from prompts as they are (`sam_alone`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.models.averaging import average_weights
from vseg_ros.models.checkpoint import Stateful, resume_run, save_run
from vseg_ros.models.sam2_network import ImageFeatures, Segmented
from vseg_ros.models.schedule import cosine_rate
from vseg_ros.settings import AnchorSettings
from vseg_ros.training_settings import VirstTrainingSettings
from vseg_ros.virst.anchor_updater import AnchorUpdater
from vseg_ros.virst.hints import hint_losses
from vseg_ros.virst.language_model import LanguageClip
from vseg_ros.virst.losses import LossWeights, MaskLosses, mask_losses, total_loss
from vseg_ros.virst.model import Prompted, Virst
from vseg_ros.virst.told_prompts import tell_prompts
from vseg_ros.virst.training_batches import Batch, QuestionedClips, draw_batch

Progress = Callable[[int, int, str], None]
LEARNT_FROM_STAGE_2 = ('mask_decoder.', 'memory_attention.', 'memory_encoder.',
                       'memory_temporal_positional_encoding', 'no_object_pointer',
                       'object_pointer_proj.', 'occlusion_spatial_embedding_parameter',
                       'temporal_positional_encoding_projection_layer.', 'no_memory_embedding')
"""Parameters of SAM 2 that learn from stage 2 on, by the beginnings of their names."""


def freeze_for_stage(model: Virst, stage: int, sam_alone: bool = False) -> list[nn.Parameter]:
    """
    Set which parameters learn in a stage; returns them.

    What was frozen before (a large language model beside its LoRA) stays frozen.

    Args:
        model: the network.
        stage: 0 to 3.
        sam_alone: freeze everything but SAM 2, of which stages 2 and 3 let something learn.

    """
    if stage == 0 or sam_alone:
        for part in (model.initial, model.prompter):
            part.requires_grad_(False)
    if sam_alone:
        model.language.requires_grad_(False)
    for name, parameter in model.sam.named_parameters():
        learns = not name.startswith('vision_encoder.backbone.') if stage == 3 else (
            stage == 2 and name.startswith(LEARNT_FROM_STAGE_2))
        parameter.requires_grad_(learns)
    return [each for each in model.parameters() if each.requires_grad]


class VirstTrainer:
    """
    One training run of one stage.

    Args:
        settings: stage, schedule and losses.
        model: trained in place.
        clips: what is learnt from.
        checkpoint: file that the run is saved to and resumed from; None keeps nothing.

    Attributes:
        step: number of steps done.
        average: the model with averaged weights: the result.

    Raises:
        UserError: the checkpoint is damaged, or of a run with other settings.

    """

    def __init__(self, settings: VirstTrainingSettings, model: Virst, clips: QuestionedClips,
                 checkpoint: Path | None = None) -> None:
        self.settings, self.model, self.clips, self.step = settings, model.train(), clips, 0
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self._checkpoint = checkpoint
        self._learning = freeze_for_stage(model, settings.stage, settings.sam_alone)
        self._optimizer = torch.optim.AdamW(self._learning, lr=settings.learning_rate,
                                            weight_decay=settings.weight_decay)
        if checkpoint is not None and checkpoint.exists():
            self.step = resume_run(checkpoint, self._parts())
        # only now: it keeps SAM 2's encoding of places, which a checkpoint brings along
        self._network = model.network()

    def run(self, progress: Progress | None = None) -> Virst:
        """Train to the end of the stage; returns the averaged model."""
        while self.step < self.settings.steps:
            losses = self._train_step()
            self.step += 1
            if progress is not None:
                progress(self.step, self.settings.steps,
                         ' '.join(f'{name} {value:.3f}' for name, value in losses.items()))
            if self._checkpoint and (self.step % self.settings.checkpoint_every == 0
                                     or self.step == self.settings.steps):
                save_run(self._checkpoint, self.step, self._parts())
        return self.average

    def _train_step(self) -> dict[str, float]:
        settings = self.settings
        seeds = settings.seed, settings.stage, self.step
        random = np.random.default_rng(seeds)
        # dropout too depends on the step alone, so that a resumed run equals an uninterrupted one
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
        rate = cosine_rate(settings.learning_rate, self.step, settings.warmup_steps,
                           settings.steps)
        for group in self._optimizer.param_groups:
            group['lr'] = rate
        batch = draw_batch(self.clips, settings, random)
        with torch.autocast(self._network.device.type, torch.bfloat16,
                            enabled=settings.precision == 'bfloat16'):
            losses = self.losses(batch, random)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses['total'])
        nn.utils.clip_grad_norm_(self._learning, 1.0)
        self._optimizer.step()
        average_weights(self.average, self.model, settings.average, self.step)
        return {name: float(value.detach()) for name, value in losses.items()}

    def losses(self, batch: Batch, random: np.random.Generator) -> dict[str, Tensor]:
        """Compute every loss of a batch, and `total`, their weighted sum."""
        if self.settings.stage == 0:
            return self._language_losses(batch, random)
        frames = batch.maps[0].shape[1]
        # the mask decoder narrows the fine maps in here, and learns from stage 2 on
        with torch.set_grad_enabled(self.settings.stage >= 2):
            features = self._network.encode_maps([each.flatten(0, 1).float()
                                                  for each in batch.maps])
        asked = self._ask(batch, features)
        losses = {'token': asked.token_loss}
        total = self.settings.loss_weights.token * asked.token_loss
        if self.settings.anchors:
            anchors = sorted(random.permutation(frames)[:self.settings.anchors].tolist())
            masks = self._mask_losses(self._told(asked, batch, random), features, batch, anchors)
            total = total_loss(masks, asked.token_loss,
                               LossWeights(**self.settings.loss_weights.model_dump()))
            losses = {'bce': masks.bce, 'dice': masks.dice, 'occlusion': masks.occlusion,
                      'iou': masks.iou, **losses}
        return self._with_hints(losses, total, asked, batch, random)

    def _with_hints(self, losses: dict[str, Tensor], total: Tensor, asked: Prompted,
                    batch: Batch, random: np.random.Generator) -> dict[str, Tensor]:
        """Add what a model that starts from nothing is told besides."""
        generator = torch.Generator().manual_seed(int(random.integers(2 ** 62)))
        for name, weight, loss in hint_losses(self.settings, self.model.language, asked, batch,
                                              generator):
            losses[name] = loss
            total = total + weight * loss
        return {'total': total, **losses}

    def _told(self, asked: Prompted, batch: Batch, random: np.random.Generator) -> Prompted:
        """Tell the mask decoder some of the coarse prompts."""
        if not self.settings.told or asked.coarse is None:
            return asked
        generator = torch.Generator().manual_seed(int(random.integers(2 ** 62)))
        return replace(asked, coarse=tell_prompts(asked.coarse, batch.masks, self.settings.told,
                                                  generator))

    def _mask_losses(self, asked: Prompted, features: ImageFeatures, batch: Batch,
                     anchors: list[int]) -> MaskLosses:
        """Draw the masks of the anchors, in stage 3 those of the other frames too."""
        clips, frames = batch.maps[0].shape[:2]
        if self.settings.stage == 3:
            chosen = list(range(frames))
            found = self._propagated(asked, features, clips, frames, anchors)
        else:
            chosen = anchors
            found = self._predicted(asked, features, clips, frames, chosen)
        targets = batch.masks[:, chosen]
        logits = F.interpolate(_joined([each.seen for each in found]), targets.shape[-2:],
                               mode='bilinear', align_corners=False)
        return mask_losses(logits, torch.stack([each.scores[:, 0] for each in found], 1),
                           torch.stack([each.qualities for each in found], 1), targets)

    def _language_losses(self, batch: Batch, random: np.random.Generator) -> dict[str, Tensor]:
        """Let the language model answer and look, without the rest."""
        language = self.model.language
        clips = [LanguageClip((), level, tuple(each[clip].float() for each in batch.maps))
                 for clip, level in enumerate(batch.maps[0])]
        repeated = [clip for clip in clips for _ in range(self.settings.questions)]
        inputs = language.prepare(repeated, [each.text for each in batch.questions],
                                  [each.answer for each in batch.questions])
        outputs = language(inputs)
        grounding = () if outputs.grounding is None else (outputs.grounding,)
        asked = Prompted(outputs.prompts, outputs.token_loss, inputs, grounding,
                         sameness=outputs.sameness)
        return self._with_hints({'token': outputs.token_loss},
                                self.settings.loss_weights.token * outputs.token_loss, asked,
                                batch, random)

    def _ask(self, batch: Batch, features: ImageFeatures) -> Prompted:
        clips, frames = batch.maps[0].shape[:2]
        side = features.medium.shape[-1] // 2
        maps = features.tokens.permute(1, 2, 0).reshape(clips, frames, -1, side, side)
        fused = self.model.fuse_clips([
            LanguageClip((), maps[clip], tuple(level[clip].float() for level in batch.maps))
            for clip in range(clips)])
        return self.model.ask(fused, [each.text for each in batch.questions],
                              [each.answer for each in batch.questions])

    def _predicted(self, asked: Prompted, features: ImageFeatures, clips: int, frames: int,
                   anchors: Sequence[int]) -> list[Segmented]:
        """Predict frames from their prompts alone, all at once."""
        times = len(asked.prompts) // clips
        rows = torch.tensor([clip * frames + frame for frame in anchors for clip in range(clips)
                             for _ in range(times)])
        prompts = [asked.on(frame) for frame in anchors]
        coarse = [each.coarse for each in prompts if each.coarse is not None]
        found = self._network.segment_prompts(
            pick_features(features, rows), torch.cat([each.tokens for each in prompts]),
            coarse=torch.cat(coarse) if coarse else None)
        return [Segmented(*parts) for parts in zip(
            *(each.chunk(len(anchors)) for each in found), strict=True)]

    def _propagated(self, asked: Prompted, features: ImageFeatures, clips: int, frames: int,
                    anchors: Sequence[int]) -> list[Segmented]:
        """Predict the anchors and propagate to all other frames."""
        times = len(asked.prompts) // clips

        def features_of(frame: int) -> ImageFeatures:
            rows = torch.arange(clips).repeat_interleave(times) * frames + frame
            return pick_features(features, rows)

        updater = AnchorUpdater(self._network, AnchorSettings())
        return updater.run(range(frames), features_of,
                           {frame: asked.on(frame) for frame in anchors})

    def _parts(self) -> dict[str, Stateful]:
        """Return what a checkpoint keeps."""
        return {'model': self.model, 'average': self.average, 'optimizer': self._optimizer}


def pick_features(features: ImageFeatures, rows: Tensor) -> ImageFeatures:
    """Take some of B frames, some of them several times."""
    return ImageFeatures(features.fine[rows], features.medium[rows], features.tokens[:, rows])


def _joined(logits: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(logits), 1).float()
