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
from vseg_ros.models.segformer import SEGFORMER_VARIANTS
from vseg_ros.models.segmenter_training import (
    SegmenterTrainer,
    TrainingImages,
    class_weights,
    predict_labels,
)
from vseg_ros.settings import SegmenterTrainingSettings, TrainingStage

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
