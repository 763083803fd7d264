"""
Training of a small SAM 2 on encoded clips: prompts on the first frame, tracks on the rest.

A step takes a few clips and several things of each, prompts them by points or by their masks, and
follows them through the clip through the model's own memory (Ravi et al., *SAM 2*, Sec. 4 and
D.2.2). Losses per frame are SAM 2's (mask and Dice where the thing is visible, the error of the
predicted IoU, cross entropy of the object score), but for a cross entropy in the place of the
focal loss, in which pixels of the thing count more than others; at first, while `balanced`, both
sides count alike: with SAM 2's loss, so short a training ends in empty masks. The image encoder's
backbone is frozen; its neck, the mask decoder and the memory learn.

Beside that, a linear layer that exists in training alone reads off the decoder's image tokens
which cells belong to the thing: the product of two factors that are both random at first, which a
mask is, teaches the tokens little.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Sam2VideoModel

from vseg_ros.errors import UserError
from vseg_ros.models.averaging import average_weights
from vseg_ros.models.checkpoint import Stateful, resume_run, save_run
from vseg_ros.models.encoded_clips import EncodedClips
from vseg_ros.models.sam2_memory import Memory, ObjectMemory
from vseg_ros.models.sam2_network import ImageFeatures, Sam2Network, Segmented
from vseg_ros.models.schedule import cosine_rate
from vseg_ros.training_settings import TrackerTrainingSettings

Progress = Callable[[int, int, str], None]
MASK_WEIGHT, DICE_WEIGHT, QUALITY_WEIGHT, SCORE_WEIGHT = 2.0, 2.0, 1.0, 1.0
INSIDE = 5.0
CELL_WEIGHT, CELL_BALANCE = 2.0, 9.0
FIRST_STUFF = 65_000
"""Region numbers from here on are stuff, see `TrackerTrainingSettings.stuff_share`."""
DRAWS_WITHOUT_THINGS = 1000
"""Clips in a row without any thing to follow after which none is expected any more."""


class TrackedObjects(NamedTuple):
    """
    What a step follows.

    Attributes:
        maps: float [B, T, h_i, w_i, C_i] each, of B clips.
        masks: bool [B K, T, n, n], the things of each clip one after the other.

    """

    maps: tuple[Tensor, ...]
    masks: Tensor


def tracking_losses(found: Segmented, masks: Tensor, balanced: bool) -> dict[str, Tensor]:
    """
    Losses of B objects on one frame, each with its weight.

    Args:
        found: of the model.
        masks: bool [B, n, n], the truth.
        balanced: whether the pixels of a thing, together, count as much as all others; else each
            counts `INSIDE` times as much.

    """
    truth = masks.float()
    logits = F.interpolate(found.seen.float(), truth.shape[-2:], mode='bilinear',
                           align_corners=False)[:, 0]
    visible = masks.flatten(1).any(1).float()
    count = visible.sum().clamp_min(1)
    probability = logits.sigmoid()
    error = F.binary_cross_entropy_with_logits(logits, truth, reduction='none').flatten(1)
    area = truth.flatten(1).sum(1, keepdim=True)
    weight = ((error.shape[1] - area) / area.clamp_min(1)).clamp_min(1) if balanced else INSIDE
    weight = 1 + (weight - 1) * truth.flatten(1)
    entropy = (error * weight).sum(1) / weight.sum(1)
    overlap = 2 * (probability * truth).flatten(1).sum(1) + 1
    dice = 1 - overlap / (probability.flatten(1).sum(1) + truth.flatten(1).sum(1) + 1)
    with torch.no_grad():
        positive = logits > 0
        union = (positive | masks).flatten(1).sum(1).clamp_min(1)
        quality = (positive & masks).flatten(1).sum(1) / union
    return {
        'mask': MASK_WEIGHT * (entropy * visible).sum() / count,
        'dice': DICE_WEIGHT * (dice * visible).sum() / count,
        'quality': QUALITY_WEIGHT * ((found.qualities - quality).abs() * visible).sum() / count,
        'score': SCORE_WEIGHT * F.binary_cross_entropy_with_logits(found.scores[:, 0], visible)}


class TrackerTrainer:
    """
    One training run.

    Args:
        settings: schedule and prompts.
        model: trained in place, but for its backbone.
        clips: what is learnt from.
        checkpoint: file that the run is saved to and resumed from; None keeps nothing.

    Attributes:
        step: number of steps done.
        average: the model with averaged weights: the result.

    Raises:
        UserError: the settings contradict each other, or the checkpoint is damaged or of a run
            with other settings; while training, no clip has a thing to follow.

    """

    def __init__(self, settings: TrackerTrainingSettings, model: Sam2VideoModel,
                 clips: EncodedClips, checkpoint: Path | None = None) -> None:
        check_prompts(settings)
        self.settings, self.clips, self.step = settings, clips, 0
        self.model: Any = model.train()
        self.average: Any = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.network = Sam2Network(model)
        self._checkpoint = checkpoint
        self._cells = nn.Linear(model.config.memory_attention_hidden_size, 1)
        self._tokens: Tensor | None = None
        self.model.mask_decoder.transformer.register_forward_hook(self._keep_tokens)
        learning = [each for each in (*model.parameters(), *self._cells.parameters())
                    if each.requires_grad]
        self._optimizer = torch.optim.AdamW(learning, lr=settings.learning_rate,
                                            weight_decay=settings.weight_decay)
        if checkpoint is not None and checkpoint.exists():
            self.step = resume_run(checkpoint, self._parts())

    def run(self, progress: Progress | None = None) -> Sam2VideoModel:
        """Train to the end of the schedule; returns the averaged model."""
        while self.step < self.settings.steps:
            losses = self._train_step()
            self.step += 1
            if progress is not None:
                progress(self.step, self.settings.steps,
                         ' '.join(f'{name} {value:.3f}' for name, value in losses.items()))
            if self._checkpoint and (self.step % self.settings.checkpoint_every == 0
                                     or self.step == self.settings.steps):
                save_run(self._checkpoint, self.step, self._parts())
        result: Sam2VideoModel = self.average
        return result

    def _train_step(self) -> dict[str, float]:
        random = np.random.default_rng((self.settings.seed, self.step))
        rate = cosine_rate(self.settings.learning_rate, self.step, self.settings.warmup_steps,
                           self.settings.steps)
        for group in self._optimizer.param_groups:
            group['lr'] = rate
        losses = self._losses(draw_objects(self.clips, self.settings, random), random)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        average_weights(self.average, self.model, self.settings.average, self.step)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _losses(self, objects: TrackedObjects, random: np.random.Generator) -> dict[str, Tensor]:
        """Prompt on the first frame, follow through the rest; the mean over frames."""
        total: dict[str, Tensor] = {}
        frames = objects.masks.shape[1]
        memories: list[ObjectMemory] = []
        for time in range(frames):
            features = self._features(objects, time)
            if time == 0:
                found, learnt = self._prompted(features, objects.masks[:, 0], random)
            else:
                recalled = [each.recall(time, 1, self.network.spatial_memories,
                                        self.network.pointers) for each in memories]
                found, learnt = self.network.segment_remembered(features, recalled), True
            spatial = self.network.encode_memory(
                features, self.network.memory_masks(found.logits), found.scores,
                prompted=time == 0)
            remembered = [Memory(*pair) for pair in zip(spatial, found.pointers, strict=True)]
            if time == 0:
                memories = [ObjectMemory(0, each) for each in remembered]
            else:
                for each, memory in zip(memories, remembered, strict=True):
                    each.remember(time, memory, self.network.spatial_memories,
                                  self.network.pointers)
            if learnt:
                losses = tracking_losses(found, objects.masks[:, time],
                                         self.settings.balanced)
                losses['cells'] = self._cell_loss(objects.masks[:, time])
                for name, value in losses.items():
                    total[name] = total.get(name, torch.zeros(())) + value / frames
        return total

    def _cell_loss(self, masks: Tensor) -> Tensor:
        """Compare what the decoder's image tokens say of each cell with its share of the mask."""
        assert self._tokens is not None
        logits = self._cells(self._tokens).flatten(1)
        side = round(logits.shape[1] ** 0.5)
        share = F.adaptive_avg_pool2d(masks.float()[:, None], side).flatten(1)
        return CELL_WEIGHT * F.binary_cross_entropy_with_logits(
            logits, share, 1 + CELL_BALANCE * share)

    def _features(self, objects: TrackedObjects, time: int) -> ImageFeatures:
        """Encode a frame of every clip, once for each of its objects."""
        features = self.network.encode_maps([each[:, time].float() for each in objects.maps])
        return repeat_features(features, len(objects.masks) // len(objects.maps[0]))

    def _prompted(self, features: ImageFeatures, masks: Tensor,
                  random: np.random.Generator) -> tuple[Segmented, bool]:
        """Prompt by points or masks; a mask that is given teaches nothing of itself."""
        if random.random() < self.settings.mask_prompts:
            side = self.network.side
            given = F.interpolate(masks[:, None].float(), (side, side))
            return self.network.segment_mask(features, given), False
        count = int(random.choice([1, 1, 1, 2, 3]))
        points, labels = draw_points(masks.numpy(), count, self.network.side, random)
        return self.network.segment_points(features, points, labels), True

    def _keep_tokens(self, _: nn.Module, __: object, output: tuple[Tensor, ...]) -> None:
        """Keep the image tokens of the decoder's last call."""
        self._tokens = output[1]

    def _parts(self) -> dict[str, Stateful]:
        """Return what a checkpoint keeps."""
        return {'model': self.model, 'average': self.average, 'cells': self._cells,
                'optimizer': self._optimizer}


def check_prompts(settings: TrackerTrainingSettings) -> None:
    """
    Check what one setting asks of another.

    Raises:
        UserError: more frames are followed than a clip has, or nothing but given masks is.

    """
    if settings.frames > settings.clip_length:
        raise UserError(f'frames {settings.frames} is more than the clip_length '
                        f'{settings.clip_length}: follow fewer frames, or encode longer clips')
    if settings.frames == 1 and settings.mask_prompts:
        raise UserError(f'frames 1 learns prompts alone, and a mask that is given teaches nothing '
                        f'of itself: set mask_prompts {settings.mask_prompts} to 0')


def repeat_features(features: ImageFeatures, times: int) -> ImageFeatures:
    """Give each of B frames to `times` objects in a row."""
    return ImageFeatures(features.fine.repeat_interleave(times, 0),
                         features.medium.repeat_interleave(times, 0),
                         features.tokens.repeat_interleave(times, 1))


def draw_objects(clips: EncodedClips, settings: TrackerTrainingSettings,
                 random: np.random.Generator) -> TrackedObjects:
    """
    Draw clips, a direction of time and things that are in the first frame.

    Clips without any thing of `min_cells` pixels are passed over.

    Raises:
        UserError: a thousand clips in a row had none.

    """
    missed = 0
    chosen: list[tuple[Tensor, ...]] = []
    masks: list[Tensor] = []
    while len(chosen) < settings.batch:
        clip = clips[int(random.integers(len(clips)))]
        order = torch.arange(len(clip.regions))
        start = int(random.integers(len(order) - settings.frames + 1))
        order = order[start:start + settings.frames]
        if random.random() < 0.5:
            order = order.flip(0)
        regions = clip.regions[order]
        numbers = _choose(regions[0].numpy(), settings, random)
        missed = 0 if len(numbers) else missed + 1
        if missed == DRAWS_WITHOUT_THINGS:
            raise UserError(f'no clip has a thing of {settings.min_cells} pixels in its first '
                            'frame: lower min_cells, or train on other clips')
        if len(numbers):
            chosen.append(tuple(each[order] for each in clip.maps))
            masks.append(regions[None] == torch.from_numpy(numbers)[:, None, None, None])
    return TrackedObjects(tuple(torch.stack(level) for level in zip(*chosen, strict=True)),
                          torch.cat(masks))


def _choose(regions: np.ndarray[Any, Any], settings: TrackerTrainingSettings,
            random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Choose `objects` numbers, some of stuff; a clip with fewer gives some of them again."""
    numbers, counts = np.unique(regions, return_counts=True)
    numbers = numbers[(numbers > 0) & (counts >= settings.min_cells)]
    stuff = numbers >= FIRST_STUFF
    groups = [each for each in (numbers[stuff], numbers[~stuff]) if len(each)]
    if not groups:
        return numbers
    wanted = [settings.stuff_share, 1 - settings.stuff_share] if len(groups) == 2 else [1.0]
    return np.array([random.choice(groups[random.choice(len(groups), p=wanted)])
                     for _ in range(settings.objects)])


def draw_points(masks: np.ndarray[Any, Any], count: int, side: int,
                random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """
    Draw prompts: a first point inside each mask, others inside or outside of it.

    Args:
        masks: bool [B, n, n], none of them empty.
        count: points an object.
        side: of the model's square, in whose pixels the points are.
        random: source of randomness.

    Returns:
        float32 [B, 1, count, 2] and int32 [B, 1, count].

    """
    scale = side / masks.shape[-1]
    points = np.zeros((len(masks), 1, count, 2), np.float32)
    labels = np.ones((len(masks), 1, count), np.int32)
    for number, mask in enumerate(masks):
        for index in range(count):
            inside = index == 0 or random.random() < 0.5 or bool(mask.all())
            rows, columns = np.nonzero(mask if inside else ~mask)
            pick = int(random.integers(len(rows)))
            points[number, 0, index] = ((columns[pick] + random.random()) * scale - 0.5,
                                        (rows[pick] + random.random()) * scale - 0.5)
            labels[number, 0, index] = inside
    return torch.from_numpy(points), torch.from_numpy(labels)
