"""Training learns, keeps its schedule, and goes on after an interruption as if there was none."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.models.augmentation import LabelledImage
from vseg_ros.models.loading import write_segmenter
from vseg_ros.models.segformer import SEGFORMER_VARIANTS
from vseg_ros.models.segmenter_training import (
    SegmenterTrainer,
    TrainingImages,
    class_weights,
    predict_labels,
)
from vseg_ros.models.temporal_consistency import masked_temporal_consistency
from vseg_ros.training_settings import SegmenterTrainingSettings, TrainingStage

TINY = {'hidden_sizes': [8, 16, 20, 24], 'depths': [1, 1, 1, 1],
        'num_attention_heads': [1, 2, 2, 2], 'decoder_hidden_size': 16}


def striped(count: int, seed: int = 0) -> list[LabelledImage]:
    """Two classes that brightness tells apart, and one row that is not labelled."""
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        labels = random.integers(0, 2, (2, 3)).astype(np.uint8).repeat(24, 0).repeat(24, 1)
        image = np.repeat((60 + 120 * labels)[..., None], 3, 2).astype(np.uint8)
        labels = labels.copy()
        labels[0] = 255
        images.append(LabelledImage(image, labels))
    return images


def settings(**changes: Any) -> SegmenterTrainingSettings:
    stage = {'batch': 2, 'height': 32, 'width': 32}
    return SegmenterTrainingSettings.model_validate({
        'stages': [{**stage, 'steps': 20}, {**stage, 'steps': 10, 'width': 64}],
        'warmup_steps': 4, 'learning_rate': 0.01, 'average': 0.9, 'device': 'cpu',
        'precision': 'float32', 'checkpoint_every': 7, 'paste_classes': [1], **changes})


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEGFORMER_VARIANTS, 'b0', TINY)


@pytest.fixture
def images() -> TrainingImages:
    return TrainingImages(striped(4), striped(4, 1))


def test_learns(images: TrainingImages) -> None:
    losses, checkpoints = [], []
    trainer = SegmenterTrainer(settings(), images)
    model = trainer.run(
        lambda step, steps, text: losses.append((step, steps, float(text.split()[1]))),
        lambda step, model: checkpoints.append(step))
    assert [step for step, _, _ in losses] == list(range(1, 31))
    assert {steps for _, steps, _ in losses} == {30}
    values = [loss for _, _, loss in losses]
    assert np.mean(values[-5:]) < 0.5 * np.mean(values[:5])
    assert checkpoints == [7, 14, 21, 28, 30]
    assert model is trainer.average
    assert not model.training
    correct = [(predict_labels(model, sample.image) == sample.labels)[sample.labels != 255].mean()
               for sample in striped(4, 2)]
    assert np.mean(correct) > 0.8


def test_a_resumed_run_is_the_uninterrupted_one(images: TrainingImages, tmp_path: Path) -> None:
    straight = SegmenterTrainer(settings(), images).run()

    class InterruptedError(Exception):
        pass

    def interrupt(step: int, steps: int, text: str) -> None:
        if step == 17:
            raise InterruptedError

    checkpoint = tmp_path / 'checkpoint.pt'
    with pytest.raises(InterruptedError):
        SegmenterTrainer(settings(), images, checkpoint).run(interrupt)
    torch.manual_seed(99)
    resumed = SegmenterTrainer(settings(), images, checkpoint)
    assert resumed.step == 14
    found = resumed.run().state_dict()
    for name, value in straight.state_dict().items():
        assert torch.equal(found[name], value), name
    assert [path.name for path in tmp_path.iterdir()] == ['checkpoint.pt']
    done = SegmenterTrainer(settings(), images, checkpoint)
    assert done.step == 30


def test_seed_decides_the_result(images: TrainingImages) -> None:
    short = {'stages': [{'steps': 2, 'batch': 1, 'height': 32, 'width': 32}]}
    results = [SegmenterTrainer(settings(seed=seed, **short), images).run().state_dict()
               for seed in (0, 0, 1)]
    name = 'decoder.head.classifier.weight'
    assert torch.equal(results[0][name], results[1][name])
    assert not torch.equal(results[0][name], results[2][name])


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', 'short', 'other'])
def test_checkpoint_that_cannot_be_resumed(images: TrainingImages, tmp_path: Path,
                                           content: bytes | str) -> None:
    path = tmp_path / 'checkpoint.pt'
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == 'other':
        torch.save({'step': 3, 'model': {}}, path)
    else:
        SegmenterTrainer(settings(stages=[
            {'steps': 1, 'batch': 1, 'height': 32, 'width': 32}]), images, path).run()
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r'checkpoint.pt is damaged or of a run with other set'):
        SegmenterTrainer(settings(), images, path)


def test_stages_follow_each_other(images: TrainingImages) -> None:
    trainer = SegmenterTrainer(settings(), images)
    assert [trainer.stage(step).width for step in (0, 19, 20, 29, 99)] == [32, 32, 64, 64, 64]
    assert trainer._batch(19)[0].shape == (2, 32, 32, 3)
    pixels, labels = trainer._batch(20)
    assert pixels.shape == (2, 32, 64, 3)
    assert labels.shape == (2, 32, 64)
    assert pixels.dtype == labels.dtype == torch.uint8


def test_every_step_draws_images_of_its_own(images: TrainingImages) -> None:
    first, again = (SegmenterTrainer(settings(), images)._batch(3) for _ in range(2))
    for pixels, same in zip(first, again, strict=True):
        assert torch.equal(pixels, same)
    assert not torch.equal(SegmenterTrainer(settings(), images)._batch(4)[0], first[0])


def test_learning_rate_rises_then_falls_to_zero(images: TrainingImages) -> None:
    trainer = SegmenterTrainer(settings(), images)
    rates = [trainer.learning_rate(step) for step in range(31)]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[4] == pytest.approx(0.01)
    assert all(a > b for a, b in pairwise(rates[4:]))
    assert rates[30] == pytest.approx(0)
    assert rates[17] == pytest.approx(0.005)


def test_shares_of_real_and_street_images() -> None:
    real, street = striped(1), striped(2)
    stage = TrainingStage(steps=1, batch=1, height=32, width=32, street_share=0.25)
    assert TrainingImages(real, street).shares(stage) == [(real, 0.75), (street, 0.25)]
    assert TrainingImages([], street).shares(stage) == [(street, 1.0)]
    assert TrainingImages(real, []).shares(stage) == [(real, 1.0)]
    none = stage.model_copy(update={'street_share': 0.0})
    assert TrainingImages(real, street).shares(none) == [(real, 1.0)]


def test_rare_classes_weigh_more() -> None:
    labels = np.zeros((10, 10), np.uint8)
    labels[0, :4] = 1
    labels[1] = 255
    sample = LabelledImage(np.zeros((10, 10, 3), np.uint8), labels)
    weights = class_weights([([sample], 1.0)], 3, power=0.5, limit=50)
    frequency = np.array([86, 4]) / 90
    assert weights[1] / weights[0] == pytest.approx((86 / 4) ** 0.5, rel=1e-5)
    assert float((weights[:2].numpy() * frequency).sum()) == pytest.approx(1, abs=0.01)
    assert class_weights([([sample], 1.0)], 3, power=0.5, limit=5)[2] == 5
    other = LabelledImage(sample.image, np.ones((10, 10), np.uint8))
    mixed = class_weights([([sample], 0.5), ([other], 0.5)], 2, power=1, limit=50)
    assert mixed[1] / mixed[0] == pytest.approx((86 / 180) / (94 / 180), rel=1e-5)


def test_images_without_a_single_label() -> None:
    sample = LabelledImage(np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8))
    with pytest.raises(UserError, match='no pixel of the training images is labelled'):
        class_weights([([sample], 1.0)], 3, power=0.4)


def clip_settings(**changes: Any) -> SegmenterTrainingSettings:
    return settings(**{'clip_length': 3, 'stages': [
        {'steps': 10, 'batch': 2, 'height': 32, 'width': 32}], **changes})


def numbered(videos: int, frames: int) -> TrainingImages:
    """Images that tell their video in red and their frame in green."""
    images = []
    for video in range(videos):
        for frame in range(frames):
            image = np.zeros((48, 72, 3), np.uint8)
            image[..., 0], image[..., 1] = 20 * video, 20 * frame
            images.append(LabelledImage(image, np.zeros((48, 72), np.uint8)))
    return TrainingImages(images, [], [range(start, start + frames)
                                       for start in range(0, videos * frames, frames)])


def test_a_batch_holds_clips_of_neighbouring_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('vseg_ros.models.clip_sampling._recoloured',
                        lambda images, strength, random: list(images))
    trainer = SegmenterTrainer(clip_settings(pan_share=0.0), numbered(3, 5))
    seen = set()
    for step in range(10):
        pixels, labels = trainer._batch(step)
        assert pixels.shape == (6, 32, 32, 3)
        assert labels.shape == (6, 32, 32)
        for clip in pixels.unflatten(0, (2, 3)):
            videos, frames = clip[:, 16, 16, :2].unbind(1)
            assert len(videos.unique()) == 1
            assert frames.int().diff().tolist() == [20, 20]
            seen.add((int(videos[0]), int(frames[0])))
    assert {video for video, _ in seen} == {0, 20, 40}
    assert {frame for _, frame in seen} == {0, 20, 40}


@pytest.mark.parametrize(('share', 'videos'), [(1.0, 3), (0.0, 0)])
def test_pans_over_single_images(monkeypatch: pytest.MonkeyPatch, share: float,
                                 videos: int) -> None:
    monkeypatch.setattr('vseg_ros.models.clip_sampling._recoloured',
                        lambda images, strength, random: list(images))
    images = numbered(3, 5)
    images = TrainingImages(images.real, [], images.videos[:videos])
    trainer = SegmenterTrainer(clip_settings(pan_share=share), images)
    for step in range(5):
        for clip in trainer._batch(step)[0].unflatten(0, (2, 3)):
            assert len(clip[:, 16, 16].unique(dim=0)) == 1


def test_street_clips_are_pans(images: TrainingImages) -> None:
    stage = {'steps': 4, 'batch': 2, 'height': 32, 'width': 32, 'street_share': 1.0}
    mixed = TrainingImages(numbered(1, 5).real, images.street, [range(5)])
    trainer = SegmenterTrainer(clip_settings(stages=[stage], pan_share=0.0), mixed)
    for step in range(4):
        # the numbered images have one label alone
        assert set(trainer._batch(step)[1].unique().tolist()) >= {0, 1}


def test_images_of_a_video_that_differ_in_size() -> None:
    images = numbered(1, 3)
    small = LabelledImage(np.zeros((40, 72, 3), np.uint8), np.zeros((40, 72), np.uint8))
    trainer = SegmenterTrainer(clip_settings(pan_share=0.0),
                               TrainingImages([*images.real[:2], small], [], [range(3)]))
    with pytest.raises(UserError, match='images of a video differ in size'):
        trainer._batch(0)


def test_consistency_needs_clips() -> None:
    with pytest.raises(ValueError, match='choose a clip_length of 2 or more'):
        settings(consistency=1.0)


def unsteady(count: int, seed: int) -> list[LabelledImage]:
    """Two classes that brightness tells, under noise that changes from image to image."""
    random = np.random.default_rng(seed)
    labels = np.zeros((48, 72), np.uint8)
    labels[:, 36:] = 1
    plain = 90 + 70.0 * labels[..., None].repeat(3, 2)
    return [LabelledImage(np.clip(plain + random.normal(0, 30, (6, 9, 1)).repeat(8, 0)
                                  .repeat(8, 1), 0, 255).astype(np.uint8), labels)
            for _ in range(count)]


def test_consistency_lowers_the_temporal_difference(tmp_path: Path) -> None:
    images = TrainingImages(unsteady(12, 0), [], [range(12)])
    held_out = unsteady(8, 1)
    pixels = torch.from_numpy(np.stack([sample.image for sample in held_out]))
    labels = torch.from_numpy(np.stack([sample.labels for sample in held_out])).long()
    stage = {'steps': 40, 'batch': 2, 'height': 32, 'width': 64, 'scale_min': 0.9,
             'scale_max': 1.1}
    common = {'stages': [stage], 'pan_share': 0.0, 'seed': 1}
    start = tmp_path / 'start.safetensors'
    write_segmenter(SegmenterTrainer(clip_settings(**common), images).run(), start, 'b0')
    differences, correct = [], []
    for weight in (0.0, 3.0):
        tuning = clip_settings(**common, consistency=weight, start_from=str(start),
                               learning_rate=0.003)
        tuned = SegmenterTrainer(tuning, images).run()
        with torch.no_grad():
            logits = torch.nn.functional.interpolate(
                tuned(pixels).logits, size=labels.shape[1:], mode='bilinear')
        differences.append(float(masked_temporal_consistency(logits[None], labels[None], 255)))
        correct.append(float((logits.argmax(1) == labels).float().mean()))
    assert differences[1] < 0.8 * differences[0], differences
    assert min(correct) > 0.8, correct
