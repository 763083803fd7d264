"""
Training of Time2General (Sec. 4.2): the head learns, the backbones stay as they are.

AdamW with a polynomial schedule without warm-up; set losses after every decoder block, the
Masked Temporal Consistency Loss (Sec. 3.4) on the decoded pixels, and for small models a cross
entropy and a Jaccard loss on these pixels too. Because the backbones are frozen, clips may be
drawn and encoded once (`drawn_clips`) and then trained on as often as there are steps.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from vseg_ros.models.averaging import average_weights
from vseg_ros.models.checkpoint import Stateful, resume_run, save_run
from vseg_ros.models.segmenter import Features
from vseg_ros.models.segmenter_losses import soft_jaccard_loss
from vseg_ros.models.temporal_consistency import masked_temporal_consistency
from vseg_ros.time2general.memory_decoder import class_scores
from vseg_ros.time2general.model import Time2General
from vseg_ros.time2general.set_losses import ClipPrediction, deep_set_losses
from vseg_ros.time2general.training_clips import TrainingVideos, draw_clip
from vseg_ros.training_settings import ClipLossSettings, Time2GeneralTrainingSettings

Progress = Callable[[int, int, str], None]
Losses = dict[str, Tensor]


class EncodedClip(NamedTuple):
    """
    A clip as the head sees it.

    Attributes:
        features: one float16 [T, C, H, W] a block.
        depth: depth features likewise; empty without a depth prior.
        labels: uint8 [T, H, W] at the size of the crop.

    """

    features: Features
    depth: Features
    labels: Tensor


def clip_losses(predictions: list[ClipPrediction], labels: Tensor, ignore_id: int,
                settings: ClipLossSettings) -> Losses:
    """
    Every loss of a batch of clips, each times its weight.

    Args:
        predictions: what the queries say after each decoder block; if each frame is a clip of
            its own there, B T clips of one frame.
        labels: int64 [B, T, H, W].
        ignore_id: id of unlabelled pixels.
        settings: weights.

    Returns:
        scalars by name.

    """
    weights = {'class': settings.class_weight, 'mask': settings.mask_weight,
               'dice': settings.dice_weight}
    losses: Losses = {}
    masks = predictions[-1].mask_logits
    if any(weights.values()):
        tubes = labels.reshape(masks.shape[0], masks.shape[2], *labels.shape[2:])
        found = deep_set_losses(predictions, tubes, ignore_id, settings)
        losses = {name: weights[name] * value for name, value in found.items()}
    scores = class_scores(predictions[-1]).flatten(0, 1)
    small = at_cells(labels.flatten(0, 1), scores.shape[-2:])
    if settings.pixel_weight:
        # the mean over the labelled pixels, of which there may be none
        total = F.cross_entropy(scores, small, ignore_index=ignore_id, reduction='sum')
        losses['pixel'] = settings.pixel_weight * total / (small != ignore_id).sum().clamp_min(1)
    if settings.jaccard_weight:
        losses['jaccard'] = settings.jaccard_weight * soft_jaccard_loss(scores, small, ignore_id)
    if settings.consistency_weight and labels.shape[1] > 1:
        clips = labels.shape[:2]
        losses['consistency'] = settings.consistency_weight * masked_temporal_consistency(
            scores.view(*clips, *scores.shape[1:]), small.view(*clips, *small.shape[1:]),
            ignore_id, trim=settings.trim, decay=settings.decay)
    return losses


def at_cells(labels: Tensor, size: torch.Size) -> Tensor:
    """Take the label in the middle of each cell: [F, H, W] to [F, h, w]."""
    rows = (torch.arange(size[0], device=labels.device) * 2 + 1) * labels.shape[1] // (2 * size[0])
    columns = ((torch.arange(size[1], device=labels.device) * 2 + 1) * labels.shape[2]
               // (2 * size[1]))
    return labels[:, rows][:, :, columns]


class DrawnClips:
    """
    Training clips as the head sees them, by number.

    Args:
        model: whose frozen backbones encode.
        videos: where clips are drawn from.
        settings: how.
        device: where the backbones run.

    """

    def __init__(self, model: Time2General, videos: TrainingVideos,
                 settings: Time2GeneralTrainingSettings, device: torch.device) -> None:
        self._model, self._videos, self._settings = model, videos, settings
        self._device = device
        self._kept: dict[int, EncodedClip] = {}

    def draw(self, index: int) -> EncodedClip:
        """Return clip number `index`; with `drawn_clips` numbers come round and clips are kept."""
        count = self._settings.drawn_clips
        if not count:
            return self._encode(index)
        number = index % count
        if number not in self._kept:
            self._kept[number] = self._encode(number)
        return self._kept[number]

    @torch.no_grad()
    def _encode(self, index: int) -> EncodedClip:
        clip = draw_clip(self._videos, self._settings, index)
        images = torch.from_numpy(clip.images).to(self._device)
        reduced = self._settings.precision == 'bfloat16'
        with torch.autocast(self._device.type, torch.bfloat16, enabled=reduced):
            features, depth = self._model.encode(images)
        return EncodedClip(tuple(each.half() for each in features),
                           tuple(each.half() for each in depth), torch.from_numpy(clip.labels))


class Time2GeneralTrainer:
    """
    One training run.

    Args:
        settings: model, losses, schedule and augmentation.
        model: with a random head; its head is trained in place.
        videos: where clips are drawn from.
        checkpoint: file that the run is saved to and resumed from; None keeps nothing.
        logs: folder for TensorBoard; None logs nothing.
        clips: drawn clips shared with another run of the same backbone; None draws its own.

    Attributes:
        step: number of steps done.

    """

    def __init__(self, settings: Time2GeneralTrainingSettings, model: Time2General,
                 videos: TrainingVideos, checkpoint: Path | None = None,
                 logs: Path | None = None, clips: DrawnClips | None = None) -> None:
        self.settings = settings
        self.step = 0
        self._checkpoint = checkpoint
        precision = 'bf16' if settings.precision == 'bfloat16' else 'no'
        self.accelerator = Accelerator(mixed_precision=precision, cpu=settings.device == 'cpu')
        device = self.accelerator.device
        self.model = model.to(device)
        self._clips = clips or DrawnClips(self.model, videos, settings, device)
        self.average = copy.deepcopy(model.head).eval().requires_grad_(False)
        head = model.head.requires_grad_(True)
        optimizer = torch.optim.AdamW(
            [{'params': [p for p in head.parameters() if p.ndim > 1],
              'weight_decay': settings.weight_decay},
             {'params': [p for p in head.parameters() if p.ndim <= 1], 'weight_decay': 0.0}],
            lr=settings.learning_rate)
        self.head, self.optimizer = self.accelerator.prepare(head, optimizer)
        self._writer = _summary_writer(logs) if self.accelerator.is_main_process else None
        if checkpoint is not None and checkpoint.exists():
            self.step = resume_run(checkpoint, self._parts(), self.accelerator.device)

    def run(self, progress: Progress | None = None,
            every: Callable[[int, Time2General], None] | None = None) -> Time2General:
        """
        Train to the end of the schedule.

        Args:
            progress: called with (step, steps, text) after every step.
            every: called with (step, model) at every checkpoint; the model has the weights that
                would be the result.

        Returns:
            the model with the trained head.

        """
        steps = self.settings.steps
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(self._batch, self.step)
            while self.step < steps:
                batch = pending.result()
                if self.step + 1 < steps:
                    pending = pool.submit(self._batch, self.step + 1)
                losses = self._optimize(batch)
                self.step += 1
                if progress is not None:
                    progress(self.step, steps, _describe(losses))
                self._log(losses)
                if self.step % self.settings.checkpoint_every == 0 or self.step == steps:
                    self._save()
                    if every is not None:
                        every(self.step, self.result())
        return self.result()

    def result(self) -> Time2General:
        """Return the model with averaged weights, if they are averaged."""
        live = self.accelerator.unwrap_model(self.head)
        head = self.average if self.settings.average else copy.deepcopy(live)
        return Time2General(head.eval(), self.model.backbone, self.model.label_set,
                            self.model.depth)

    def learning_rate(self, step: int) -> float:
        """Polynomial to zero, without warm-up (Sec. 4.2)."""
        left = 1 - step / self.settings.steps
        return float(self.settings.learning_rate * left ** self.settings.power)

    def _batch(self, step: int) -> EncodedClip:
        """Draw the clips of a step; all their frames in a row."""
        size = self.settings.batch * self.accelerator.num_processes
        first = step * size + self.accelerator.process_index * self.settings.batch
        order = self._order(range(first, first + self.settings.batch))
        clips = [self._clips.draw(index) for index in order]
        features = tuple(torch.cat(maps) for maps in zip(*(c.features for c in clips),
                                                         strict=True))
        depth = tuple(torch.cat(maps) for maps in zip(*(c.depth for c in clips), strict=True))
        return EncodedClip(features, depth, torch.stack([clip.labels for clip in clips]))

    def _order(self, numbers: Sequence[int]) -> Sequence[int]:
        """Shuffle the drawn clips anew in each round; the first round draws them in order."""
        count = self.settings.drawn_clips
        if not count:
            return numbers
        return [number if number < count else
                int(np.random.default_rng((self.settings.seed, number // count, 1))
                    .permutation(count)[number % count]) for number in numbers]

    def _optimize(self, batch: EncodedClip) -> dict[str, float]:
        self.head.train()
        torch.manual_seed(self.settings.seed * 1_000_003 + self.step)
        for group in self.optimizer.param_groups:
            group['lr'] = self.learning_rate(self.step)
        device = self.accelerator.device
        features = tuple(each.to(device, torch.float32) for each in batch.features)
        depth = tuple(each.to(device, torch.float32) for each in batch.depth)
        with self.accelerator.autocast():
            predictions = self.head(features, len(batch.labels), depth)
        losses = clip_losses(predictions, batch.labels.long().to(device),
                             self.model.label_set.ignore_id, self.settings.loss)
        self.optimizer.zero_grad()
        self.accelerator.backward(torch.stack(list(losses.values())).sum())
        self.accelerator.clip_grad_norm_(self.head.parameters(), 1.0)
        self.optimizer.step()
        average_weights(self.average, self.accelerator.unwrap_model(self.head),
                        self.settings.average, self.step)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _log(self, losses: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in losses.items():
                self._writer.add_scalar(f'loss/{name}', value, self.step)
            self._writer.add_scalar('learning_rate', self.learning_rate(self.step - 1), self.step)
            self._writer.flush()

    def _save(self) -> None:
        if self._checkpoint is None or not self.accelerator.is_main_process:
            return
        save_run(self._checkpoint, self.step, self._parts())

    def _parts(self) -> dict[str, Stateful]:
        """Return what a checkpoint keeps."""
        return {'head': self.accelerator.unwrap_model(self.head), 'average': self.average,
                'optimizer': self.optimizer}


def _describe(losses: dict[str, float]) -> str:
    return '  '.join(f'{name} {value:.3f}' for name, value in losses.items())


def _summary_writer(folder: Path | None) -> Any:
    """Open TensorBoard's writer, if its package is installed."""
    if folder is None or not importlib.util.find_spec('tensorboard'):
        return None
    from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(folder))
