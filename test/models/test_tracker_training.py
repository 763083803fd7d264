"""Training of the small SAM 2: its losses, what it draws, a run that learns, and one resumed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Sam2VideoModel

from vseg_ros.errors import UserError
from vseg_ros.models import tracker_training
from vseg_ros.models.digest import digest
from vseg_ros.models.encoded_clips import EncodedClip, EncodedClips, TrackingClip
from vseg_ros.models.nano_sam2 import new_nano_sam2
from vseg_ros.models.sam2_network import ImageFeatures, Sam2Network, Segmented
from vseg_ros.models.tracker_training import (
    FIRST_STUFF,
    TrackerTrainer,
    draw_objects,
    draw_points,
    repeat_features,
    tracking_losses,
)
from vseg_ros.training_settings import TrackerTrainingSettings

SIDE, CELLS = 64, 32


def settings(**given: object) -> TrackerTrainingSettings:
    return TrackerTrainingSettings(**{
        'frames': 2, 'clip_length': 2, 'batch': 1, 'objects': 2, 'min_cells': 4,
        'learning_rate': 2e-3, 'warmup_steps': 2, **given})


class MovingBlocks:
    """One clip: two bright blocks that move over noise, on stuff."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> TrackingClip:
        images = np.random.default_rng(index).integers(0, 80, (2, SIDE, SIDE, 3)).astype(np.uint8)
        regions = np.full((2, SIDE, SIDE), FIRST_STUFF + 3, np.uint16)
        for time in range(2):
            for number, row, color in ((1, 4, (250, 30, 30)), (2, 36, (30, 250, 250))):
                block = np.s_[time, row:row + 20, 10 + 12 * time:34 + 12 * time]
                images[block], regions[block] = color, number
        return TrackingClip(images, regions)


def new_model(width: int = 64) -> Sam2VideoModel:
    torch.manual_seed(0)
    return new_nano_sam2(side=SIDE, width=width)


@pytest.fixture
def clips(tmp_path: Path) -> EncodedClips:
    return EncodedClips(tmp_path / 'clips', MovingBlocks(), Sam2Network(new_model()), 2)


def enlarged(values: np.ndarray, size: int) -> np.ndarray:
    """Resize a square bilinearly, pixel by pixel."""
    side = len(values)

    def place(index: int) -> tuple[int, int, float]:
        at = max((index + 0.5) * side / size - 0.5, 0)
        low = min(int(at), side - 1)
        return low, min(low + 1, side - 1), at - low
    result = np.zeros((size, size))
    for row in range(size):
        up, down, v = place(row)
        for column in range(size):
            left, right, h = place(column)
            result[row, column] = ((1 - v) * ((1 - h) * values[up, left] + h * values[up, right])
                                   + v * ((1 - h) * values[down, left] + h * values[down, right]))
    return result


def literal_losses(seen: np.ndarray, masks: np.ndarray, scores: np.ndarray,
                   qualities: np.ndarray, balanced: bool) -> dict[str, float]:
    """Go through objects and pixels one by one."""
    totals = {'mask': 0.0, 'dice': 0.0, 'quality': 0.0, 'score': 0.0}
    visible = [bool(mask.any()) for mask in masks]
    for number, mask in enumerate(masks):
        present = 1 / (1 + math.exp(-scores[number]))
        totals['score'] -= math.log(present if visible[number] else 1 - present) / len(masks)
        if not visible[number]:
            continue
        logits, area = enlarged(seen[number], len(mask)), int(mask.sum())
        inside = max((mask.size - area) / area, 1) if balanced else 5
        entropy = weights = overlap = both = union = expected = 0.0
        for logit, true in zip(logits.flat, mask.flat, strict=True):
            probability = 1 / (1 + math.exp(-logit))
            weight = inside if true else 1
            entropy -= weight * math.log(probability if true else 1 - probability)
            weights += weight
            overlap += probability * true
            expected += probability
            both += bool(logit > 0 and true)
            union += bool(logit > 0 or true)
        totals['mask'] += 2 * entropy / weights / sum(visible)
        totals['dice'] += 2 * (1 - (2 * overlap + 1) / (expected + area + 1)) / sum(visible)
        totals['quality'] += abs(qualities[number] - both / union) / sum(visible)
    return totals


@pytest.mark.parametrize('balanced', [True, False])
def test_losses_are_those_of_a_loop_over_pixels(balanced: bool) -> None:
    random = np.random.default_rng(1)
    seen, scores = random.normal(0, 2, (4, 6, 6)), random.normal(0, 2, 4)
    qualities = random.random(4)
    masks = random.random((4, 12, 12)) < np.array([0.2, 0.0, 0.9, 0.5])[:, None, None]
    found = Segmented(torch.empty(0), torch.empty(0), torch.from_numpy(scores)[:, None].float(),
                      torch.from_numpy(seen)[:, None].float(), torch.from_numpy(qualities).float())
    losses = tracking_losses(found, torch.from_numpy(masks), balanced)
    expected = literal_losses(seen, masks, scores, qualities, balanced)
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(expected,
                                                                                   abs=1e-4)


def test_losses_of_a_frame_without_any_of_the_things_are_finite() -> None:
    found = Segmented(torch.empty(0), torch.empty(0), torch.zeros(2, 1),
                      torch.randn(2, 1, 6, 6, requires_grad=True), torch.zeros(2))
    losses = tracking_losses(found, torch.zeros(2, 12, 12, dtype=torch.bool), balanced=False)
    assert [losses[name].item() for name in ('mask', 'dice', 'quality')] == [0, 0, 0]
    assert float(losses['score']) == pytest.approx(math.log(2))
    torch.autograd.backward(losses['mask'])
    assert found.seen.grad is not None
    assert found.seen.grad.isfinite().all()


class Listed:
    """Encoded clips whose maps hold the number of the frame."""

    def __init__(self, *regions: np.ndarray) -> None:
        self.clips = [EncodedClip(
            (torch.arange(len(each)).half()[:, None, None, None].expand(-1, 2, 2, 3),),
            torch.from_numpy(each.astype(np.int32)), '') for each in regions]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> EncodedClip:
        return self.clips[index]


def appearing() -> np.ndarray:
    """Four frames; thing t + 1 is there from frame t on, and thing 9 is a speck."""
    regions = np.zeros((4, CELLS, CELLS), np.int64)
    for time in range(4):
        for number in range(time + 1):
            regions[time, 4 * number:4 * number + 3, :10 + number] = number + 1
    regions[:, 30, 30] = 9
    return regions


def test_things_are_in_the_first_frame_and_go_with_their_frames() -> None:
    regions, seen = appearing(), set()
    clips = Listed(np.zeros_like(regions), regions)
    for seed in range(40):
        objects = draw_objects(clips, settings(frames=3, clip_length=4, batch=2, objects=3),
                               np.random.default_rng(seed))
        assert objects.maps[0].shape == (2, 3, 2, 2, 3)
        assert objects.masks.shape == (6, 3, CELLS, CELLS)
        for number, masks in enumerate(objects.masks):
            times = objects.maps[0][number // 3, :, 0, 0, 0].int().tolist()
            assert times in ([0, 1, 2], [1, 2, 3], [2, 1, 0], [3, 2, 1])
            thing = next(k for k in range(1, 5)
                         if np.array_equal(masks, regions[times] == k))
            assert masks[0].sum() >= 4
            seen.add((thing, tuple(times)))
    assert (4, (3, 2, 1)) in seen
    assert {thing for thing, times in seen if times[0] == 0} == {1}


def test_the_share_of_stuff() -> None:
    regions = np.zeros((2, CELLS, CELLS), np.int64)
    regions[:, :10], regions[:, 10:20], regions[:, 20:25] = 1, FIRST_STUFF, FIRST_STUFF + 9

    def share(wanted: float) -> float:
        masks = draw_objects(Listed(regions), settings(stuff_share=wanted, objects=200),
                             np.random.default_rng(0)).masks
        return 1 - float(masks[:, 0, 0, 0].float().mean())
    assert (share(0.0), share(1.0)) == (0, 1)
    assert 0.2 < share(0.35) < 0.5


def test_clips_without_things_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_training, 'DRAWS_WITHOUT_THINGS', 20)
    with pytest.raises(UserError, match='no clip has a thing of 4 pixels'):
        draw_objects(Listed(np.zeros((2, CELLS, CELLS))), settings(), np.random.default_rng(0))


def test_points_lie_where_their_labels_say() -> None:
    masks = np.zeros((3, 8, 8), np.bool_)
    masks[0, 2, 5], masks[1, 4:], masks[2] = True, True, True
    labels = []
    for seed in range(20):
        points, signs = draw_points(masks, 3, 32, np.random.default_rng(seed))
        assert (points.shape, points.dtype) == ((3, 1, 3, 2), torch.float32)
        assert (signs.shape, signs.dtype) == ((3, 1, 3), torch.int32)
        columns, rows = ((points + 0.5) // 4).int().unbind(-1)
        for number, mask in enumerate(masks):
            assert np.array_equal(mask[rows[number, 0], columns[number, 0]], signs[number, 0])
        assert (signs[:, 0, 0] == 1).all()
        assert (signs[2] == 1).all()
        labels.append(signs[1, 0, 1:])
    assert set(torch.cat(labels).tolist()) == {0, 1}


def test_every_frame_is_given_to_its_objects_in_a_row() -> None:
    features = ImageFeatures(torch.randn(2, 1, 4, 4), torch.randn(2, 2, 2, 2),
                             torch.randn(1, 2, 8))
    repeated = repeat_features(features, 3)
    for number in range(6):
        assert torch.equal(repeated.fine[number], features.fine[number // 3])
        assert torch.equal(repeated.medium[number], features.medium[number // 3])
        assert torch.equal(repeated.tokens[:, number], features.tokens[:, number // 3])


def test_a_short_run_lowers_the_loss_and_leaves_the_encoder_alone(clips: EncodedClips) -> None:
    model = new_model()
    before, first = digest(model.vision_encoder.backbone), digest(model)
    totals: list[float] = []

    def progress(step: int, steps: int, text: str) -> None:
        assert (step, steps) == (len(totals) + 1, 40)
        values = dict(zip(text.split()[::2], map(float, text.split()[1::2]), strict=True))
        assert set(values) == {'mask', 'dice', 'quality', 'score', 'cells'}
        totals.append(sum(values.values()))
    trainer = TrackerTrainer(settings(steps=40, average=0.5, mask_prompts=0.0), model, clips)
    result = trainer.run(progress)
    assert np.mean(totals[-8:]) < 0.8 * np.mean(totals[:4])
    assert result is trainer.average
    assert not result.training
    assert digest(model.vision_encoder.backbone) == before
    assert digest(result.vision_encoder.backbone) == before
    assert len({digest(result), digest(model), first}) == 3


@pytest.mark.parametrize(('frames', 'share'), [(2, 1.0), (1, 0.0)])
def test_masks_alone_and_points_alone_are_learnt_from(clips: EncodedClips, frames: int,
                                                      share: float) -> None:
    model = new_model()
    before = model.memory_encoder.feature_projection.weight.detach().clone()
    TrackerTrainer(settings(steps=2, frames=frames, mask_prompts=share, learning_rate=1e-2,
                            weight_decay=0.0), model, clips).run()
    moved = not torch.equal(model.memory_encoder.feature_projection.weight, before)
    assert moved == (frames == 2)


class InterruptionError(Exception):
    """Somebody stops the run."""


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(clips: EncodedClips,
                                                                     tmp_path: Path) -> None:
    chosen = settings(steps=5, checkpoint_every=2, mask_prompts=0.5)
    path = tmp_path / 'checkpoint.pt'
    whole = TrackerTrainer(chosen, new_model(), clips)
    expected = whole.run()

    def stop(step: int, _: int, __: str) -> None:
        if step == 3:
            raise InterruptionError
    with pytest.raises(InterruptionError):
        TrackerTrainer(chosen, new_model(), clips, path).run(stop)
    model = new_model()
    torch.manual_seed(9)
    resumed = TrackerTrainer(chosen, model, clips, path)
    assert resumed.step == 2
    found = resumed.run()
    assert resumed.step == 5
    assert digest(found) == digest(expected)
    assert digest(model) == digest(whole.model)
    assert TrackerTrainer(chosen, new_model(), clips, path).step == 5
    assert sorted(each.name for each in tmp_path.iterdir()) == ['checkpoint.pt', 'clips']


def test_a_checkpoint_that_does_not_fit_is_the_users_error(clips: EncodedClips,
                                                           tmp_path: Path) -> None:
    path = tmp_path / 'checkpoint.pt'
    TrackerTrainer(settings(steps=1), new_model(), clips, path).run()
    with pytest.raises(UserError, match='of a run with other settings'):
        TrackerTrainer(settings(), new_model(128), clips, path)
    for damaged in (path.read_bytes()[:5000], b'', b'text'):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r'checkpoint\.pt is damaged'):
            TrackerTrainer(settings(), new_model(), clips, path)


def test_settings_that_contradict_each_other(clips: EncodedClips) -> None:
    with pytest.raises(UserError, match='frames 3 is more than the clip_length 2'):
        TrackerTrainer(settings(frames=3), new_model(), clips)
    with pytest.raises(UserError, match=r'set mask_prompts 0\.2 to 0'):
        TrackerTrainer(settings(frames=1), new_model(), clips)
