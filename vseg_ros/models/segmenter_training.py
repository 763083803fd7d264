"""
Train an image segmenter from scratch on few labelled images.

The schedule is progressive: cheap small crops first, full detail last, one cosine over all of
it. Cross entropy is weighted by the classes' rarity, and the weights that are kept are an
exponential average over the steps. Every step draws its own random numbers from (seed, step,
process), so a run that was interrupted goes on exactly as if it had not been, and several GPUs
(through accelerate) see different images. With clips for batches, the Masked Temporal Consistency
Loss can be added, which keeps labels from flickering.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.labels import DRIVING
from vseg_ros.models.augmentation import Augmentation, LabelledImage
from vseg_ros.models.averaging import average_weights
from vseg_ros.models.checkpoint import Stateful, resume_run, save_run
from vseg_ros.models.clip_sampling import augment_clip, pan_clip, sample_clip
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.segformer import new_segformer
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.models.segmenter_losses import soft_jaccard_loss, weighted_cross_entropy
from vseg_ros.models.temporal_consistency import masked_temporal_consistency
from vseg_ros.training_settings import SegmenterTrainingSettings, TrainingStage

Progress = Callable[[int, int, str], None]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TrainingImages:
    """
    Where labelled images are drawn from; either may be empty, not both.

    Attributes:
        real: random access to camera images.
        street: random access to images of the synthetic street.
        videos: where in `real` the frames of each video lie, in their order; empty if each
            image stands alone.

    """

    real: Sequence[LabelledImage]
    street: Sequence[LabelledImage]
    videos: Sequence[range] = ()

    def shares(self, stage: TrainingStage) -> list[tuple[Sequence[LabelledImage], float]]:
        """Pair each origin that a stage draws from with its share, 0..1."""
        street = (stage.street_share if self.real else 1.0) if self.street else 0.0
        return [(images, share) for images, share in
                ((self.real, 1 - street), (self.street, street)) if share > 0]


def class_weights(origins: Sequence[tuple[Sequence[LabelledImage], float]], classes: int,
                  power: float, samples: int = 200, limit: float = 5.0) -> Tensor:
    """
    Weigh classes by rarity: frequency ** -power, one on average over pixels.

    Args:
        origins: labelled images and their share; `samples` of each, evenly spaced, are counted.
        classes: number of classes.
        power: 0 treats all pixels alike, 1 all classes alike.
        samples: how many images to count.
        limit: largest weight.

    Returns:
        float32 [classes].

    Raises:
        UserError: not one pixel is labelled.

    """
    counts = np.zeros(classes)
    for images, share in origins:
        chosen = np.linspace(0, len(images) - 1, min(samples, len(images))).astype(int)
        seen = np.zeros(classes)
        for index in chosen:
            labels = images[int(index)].labels
            seen += np.bincount(labels[labels < classes], minlength=classes)
        counts += share * seen / max(seen.sum(), 1)
    if not counts.any():
        raise UserError('no pixel of the training images is labelled: check the label ids')
    frequency = np.maximum(counts / counts.sum(), 1e-4)
    weights = frequency ** -power
    weights /= (weights * frequency).sum()
    return torch.tensor(np.minimum(weights, limit), dtype=torch.float32)


@torch.no_grad()
def predict_labels(model: ImageSegmenter, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label uint8 [H, W, 3] RGB at its own size, on the device the model is on: uint8 [H, W]."""
    upload = torch.tensor(image, device=model.mean.device)[None]
    logits = model(upload).logits.float()
    sized = F.interpolate(logits, size=image.shape[:2], mode='bilinear', align_corners=False)
    labels: NDArray[np.uint8] = sized.argmax(1)[0].to(torch.uint8).cpu().numpy()
    return labels


class SegmenterTrainer:
    """
    One training run.

    Args:
        settings: size, schedule and augmentation.
        images: where labelled images come from.
        checkpoint: file that the run is saved to and resumed from; None keeps nothing.

    Attributes:
        average: the averaged model, which is the result.
        step: number of steps done.

    """

    def __init__(self, settings: SegmenterTrainingSettings, images: TrainingImages,
                 checkpoint: Path | None = None) -> None:
        torch.manual_seed(settings.seed)
        model = (load_segmenter(settings.start_from).requires_grad_(True)
                 if settings.start_from else new_segformer(DRIVING, settings.variant))
        self.settings = settings
        self.images = images
        self.checkpoint = checkpoint
        self.step = 0
        precision = 'bf16' if settings.precision == 'bfloat16' else 'no'
        self.accelerator = Accelerator(mixed_precision=precision, cpu=settings.device == 'cpu')
        device = self.accelerator.device
        self.average = copy.deepcopy(model).to(device).eval()
        self._class_weights: dict[TrainingStage, Tensor] = {}
        decayed = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [{'params': decayed, 'weight_decay': settings.weight_decay},
             {'params': plain, 'weight_decay': 0.0}], lr=settings.learning_rate)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        if checkpoint is not None and checkpoint.exists():
            self.step = resume_run(checkpoint, self._parts(), self.accelerator.device)

    def run(self, progress: Progress | None = None,
            every: Callable[[int, ImageSegmenter], None] | None = None) -> ImageSegmenter:
        """
        Train to the end of the schedule.

        Args:
            progress: called with (step, steps, text) after every step.
            every: called with (step, averaged model) at every checkpoint.

        Returns:
            the averaged model.

        """
        steps = self.settings.steps
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(self._batch, self.step)
            while self.step < steps:
                images, labels = pending.result()
                if self.step + 1 < steps:
                    pending = pool.submit(self._batch, self.step + 1)
                loss = self._optimize(images, labels)
                self.step += 1
                if progress is not None:
                    progress(self.step, steps, f'loss {loss:.3f}')
                if self.step % self.settings.checkpoint_every == 0 or self.step == steps:
                    self._save()
                    if every is not None:
                        every(self.step, self.average)
        return self.average

    def stage(self, step: int) -> TrainingStage:
        """Return the stage of the schedule that `step` belongs to."""
        for stage in self.settings.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.settings.stages[-1]

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to zero."""
        steps = self.settings.cosine_steps or self.settings.steps
        warmup = min(self.settings.warmup_steps, steps)
        if step < warmup:
            return self.settings.learning_rate * (step + 1) / warmup
        done = min((step - warmup) / max(steps - warmup, 1), 1.0)
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def _batch(self, step: int) -> Batch:
        stage = self.stage(step)
        random = np.random.default_rng(
            (self.settings.seed, step, self.accelerator.process_index))
        if self.settings.clip_length > 1:
            return self._clips(stage, random)
        augment = Augmentation(crop=(stage.height, stage.width),
                               scale=(stage.scale_min, stage.scale_max),
                               paste_classes=tuple(self.settings.paste_classes))
        samples = [augment(self._draw(stage, random), self._draw(stage, random), random)
                   for _ in range(stage.batch)]
        return (torch.from_numpy(np.stack([s.image for s in samples])),
                torch.from_numpy(np.stack([s.labels for s in samples])))

    def _origin(self, stage: TrainingStage,
                random: np.random.Generator) -> Sequence[LabelledImage]:
        origins = self.images.shares(stage)
        images, _ = origins[int(random.choice(len(origins), p=[share for _, share in origins]))]
        return images

    def _draw(self, stage: TrainingStage, random: np.random.Generator) -> LabelledImage:
        images = self._origin(stage, random)
        return images[int(random.integers(len(images)))]

    def _clips(self, stage: TrainingStage, random: np.random.Generator) -> Batch:
        """Draw clips, one after the other along the batch."""
        images, labels = zip(*(self._clip(stage, random) for _ in range(stage.batch)),
                             strict=True)
        return (torch.from_numpy(np.concatenate(images)),
                torch.from_numpy(np.concatenate(labels)))

    def _clip(self, stage: TrainingStage, random: np.random.Generator,
              ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw neighbouring images of one video, or pan over a single image."""
        crop, scale = (stage.height, stage.width), (stage.scale_min, stage.scale_max)
        origin = self._origin(stage, random)
        if (origin is not self.images.real or not self.images.videos
                or random.random() < self.settings.pan_share):
            still = origin[int(random.integers(len(origin)))]
            return pan_clip(still.image, still.labels, self.settings.clip_length, crop, scale,
                            random)
        frames = self._neighbours(random)
        return augment_clip(np.stack([frame.image for frame in frames]),
                            np.stack([frame.labels for frame in frames]), crop, scale, random)

    def _neighbours(self, random: np.random.Generator) -> list[LabelledImage]:
        """Draw a video, the longer the likelier, and take images that follow each other."""
        lengths = np.array([len(video) for video in self.images.videos])
        chosen = int(random.choice(len(lengths), p=lengths / lengths.sum()))
        video = self.images.videos[chosen]
        frames = [self.images.real[video[index]] for index in
                  sample_clip(len(video), self.settings.clip_length, (1,), random)]
        if len({frame.labels.shape for frame in frames}) > 1:
            raise UserError('the images of a video differ in size: scale them to one, or train '
                            'with pan_share: 1.0')
        return frames

    def _weights(self, step: int) -> Tensor:
        stage = self.stage(step)
        if stage not in self._class_weights:
            weights = class_weights(self.images.shares(stage), len(self.average.label_set),
                                    self.settings.rarity)
            self._class_weights[stage] = weights.to(self.accelerator.device)
        return self._class_weights[stage]

    def _optimize(self, images: Tensor, labels: Tensor) -> float:
        self.model.train()
        torch.manual_seed(self.settings.seed * 1_000_003 + self.step)
        for group in self.optimizer.param_groups:
            group['lr'] = self.learning_rate(self.step)
        device = self.accelerator.device
        with self.accelerator.autocast():
            logits = self.model(images.to(device)).logits
        logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode='bilinear',
                               align_corners=False)
        loss = self._loss(logits, labels.long().to(device))
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        average_weights(self.average, self.accelerator.unwrap_model(self.model),
                        self.settings.average, self.step)
        return float(loss.detach())

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        ignore_id = self.average.label_set.ignore_id
        loss = weighted_cross_entropy(logits, labels, self._weights(self.step), ignore_id)
        if self.settings.jaccard:
            loss = loss + self.settings.jaccard * soft_jaccard_loss(logits, labels, ignore_id)
        if self.settings.consistency:
            length = self.settings.clip_length
            loss = loss + self.settings.consistency * masked_temporal_consistency(
                logits.reshape(-1, length, *logits.shape[1:]),
                labels.reshape(-1, length, *labels.shape[1:]), ignore_id)
        return loss

    def _save(self) -> None:
        if self.checkpoint is None or not self.accelerator.is_main_process:
            return
        save_run(self.checkpoint, self.step, self._parts())

    def _parts(self) -> dict[str, Stateful]:
        """Return what a checkpoint keeps."""
        return {'model': self.accelerator.unwrap_model(self.model), 'average': self.average,
                'optimizer': self.optimizer}
