"""Training learns, goes on as if never interrupted, and leaves the backbone as it was."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.labels import LabelSet
from vseg_ros.models.augmentation import LabelledImage
from vseg_ros.models.segmenter_losses import soft_jaccard_loss
from vseg_ros.models.temporal_consistency import masked_temporal_consistency
from vseg_ros.time2general.memory_decoder import class_scores
from vseg_ros.time2general.model import Time2General
from vseg_ros.time2general.saved import (
    digest,
    new_time2general,
    read_time2general,
    write_time2general,
)
from vseg_ros.time2general.set_losses import ClipPrediction, set_losses
from vseg_ros.time2general.training import DrawnClips, Time2GeneralTrainer, at_cells, clip_losses
from vseg_ros.time2general.training_clips import TrainingVideos
from vseg_ros.training_settings import (
    ClipLossSettings,
    Time2GeneralModelSettings,
    Time2GeneralTrainingSettings,
)

CLASSES = LabelSet.from_names(('road', 'sky', 'car'))
IGNORED = 255


def striped(frames: int, seed: int) -> list[LabelledImage]:
    """A video of three classes that brightness tells apart; one row is not labelled."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, (2, 3)).astype(np.uint8).repeat(28, 0).repeat(28, 1)
    video = []
    for index in range(frames):
        moved = np.roll(labels, 4 * index, 1)
        image = np.repeat((30 + 100 * moved)[..., None], 3, 2).astype(np.uint8)
        moved[0] = IGNORED
        video.append(LabelledImage(image, moved))
    return video


@pytest.fixture
def videos() -> TrainingVideos:
    return TrainingVideos([striped(8, 0), striped(8, 1)], [striped(8, 2)])


@pytest.fixture
def training(model_settings: Callable[..., Time2GeneralModelSettings],
             ) -> Callable[..., Time2GeneralTrainingSettings]:
    def make(**changes: Any) -> Time2GeneralTrainingSettings:
        return Time2GeneralTrainingSettings.model_validate({
            'model': model_settings().model_dump(), 'loss': {'pixel_weight': 1.0},
            'height': 56, 'width': 56, 'scale_min': 0.9, 'scale_max': 1.1, 'class_share': 1.0,
            'steps': 12, 'batch': 2, 'learning_rate': 3e-3, 'device': 'cpu',
            'precision': 'float32', 'checkpoint_every': 5, 'strides': (1, 2), **changes})
    return make


def make_model(settings: Time2GeneralTrainingSettings) -> Time2General:
    torch.manual_seed(0)
    return new_time2general(settings.model, CLASSES)


def train(settings: Time2GeneralTrainingSettings, videos: TrainingVideos, *arguments: Any,
          ) -> Time2General:
    return Time2GeneralTrainer(settings, make_model(settings), videos, *arguments).run()


def assert_equal_heads(model: Time2General, other: Time2General) -> None:
    found = other.head.state_dict()
    for name, value in model.head.state_dict().items():
        assert torch.equal(found[name], value), name


Training = Callable[..., Time2GeneralTrainingSettings]


@pytest.mark.parametrize('changes', [
    {}, {'model': {'memory': False}}, {'model': {'modulation': False}}, {'average': 0.8},
    {'precision': 'bfloat16'}])
def test_learns(training: Training, model_settings: Callable[..., Time2GeneralModelSettings],
                videos: TrainingVideos, changes: dict[str, Any], tmp_path: Path) -> None:
    from accelerate.state import AcceleratorState

    model = model_settings(**changes.get('model', {})).model_dump()
    settings = training(steps=40, drawn_clips=6, **{**changes, 'model': model})
    lines: list[tuple[int, int, str]] = []
    AcceleratorState._reset_state(reset_partial_state=True)
    trainer = Time2GeneralTrainer(settings, make_model(settings), videos)
    before = digest(trainer.model.backbone)
    result = trainer.run(lambda *line: lines.append(line))
    AcceleratorState._reset_state(reset_partial_state=True)
    assert [(step, steps) for step, steps, _ in lines] == [(i, 40) for i in range(1, 41)]
    totals = [sum(float(word) for word in text.split()[1::2]) for _, _, text in lines]
    assert lines[0][2].split()[::2] == ['class', 'mask', 'dice', 'pixel', 'consistency']
    assert np.mean(totals[-5:]) < 0.8 * np.mean(totals[:5])
    assert digest(result.backbone) == before
    assert not result.head.training
    write_time2general(result, tmp_path / 'result.safetensors')
    images = torch.from_numpy(np.stack([each.image for each in striped(3, 0)]))[None]
    loaded = read_time2general(tmp_path / 'result.safetensors')(images)
    with torch.no_grad():
        assert (loaded - result(images)).abs().mean() < 0.02


class StoppedError(Exception):
    """What interrupts a training here."""


@pytest.mark.parametrize('changes', [{}, {'average': 0.9}, {'drawn_clips': 3}])
def test_a_resumed_run_is_the_uninterrupted_one(training: Training, videos: TrainingVideos,
                                                changes: dict[str, Any], tmp_path: Path) -> None:
    settings = training(**changes)
    straight = train(settings, videos)

    def stop(step: int, steps: int, text: str) -> None:
        if step == 8:
            raise StoppedError

    checkpoint = tmp_path / 'checkpoint.pt'
    with pytest.raises(StoppedError):
        Time2GeneralTrainer(settings, make_model(settings), videos, checkpoint).run(stop)
    torch.manual_seed(99)
    resumed = Time2GeneralTrainer(settings, new_time2general(settings.model, CLASSES), videos,
                                  checkpoint)
    assert resumed.step == 5
    assert_equal_heads(resumed.run(), straight)
    assert [path.name for path in tmp_path.iterdir()] == ['checkpoint.pt']
    done = Time2GeneralTrainer(settings, make_model(settings), videos, checkpoint)
    assert done.step == 12
    assert_equal_heads(done.run(), straight)


def test_seed_decides_the_result(training: Training, videos: TrainingVideos) -> None:
    name = 'decoder.fuse.norm.weight'
    results = [train(training(steps=2, seed=seed), videos).head.state_dict()[name]
               for seed in (0, 0, 1)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', 'short', 'other'])
def test_checkpoint_that_cannot_be_resumed(training: Training, videos: TrainingVideos,
                                           tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / 'checkpoint.pt'
    settings = training(steps=1)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == 'other':
        torch.save({'step': 3, 'head': {}}, path)
    else:
        train(settings, videos, path)
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r'checkpoint.pt is damaged or of a run with other set'):
        Time2GeneralTrainer(settings, make_model(settings), videos, path)


def test_drawn_clips_are_encoded_once(training: Training, videos: TrainingVideos) -> None:
    for drawn, steps, expected in ((3, 6, 3), (0, 6, 12)):
        settings = training(drawn_clips=drawn, steps=steps)
        model = make_model(settings)
        calls: list[int] = []
        model.backbone.register_forward_hook(
            lambda _, inputs, __, calls=calls: calls.append(len(inputs[0])))
        Time2GeneralTrainer(settings, model, videos).run()
        assert calls == [3] * expected


def test_drawn_clips_come_round_in_another_order(training: Training,
                                                 videos: TrainingVideos) -> None:
    settings = training(drawn_clips=8)
    trainer = Time2GeneralTrainer(settings, make_model(settings), videos)
    rounds = [list(trainer._order(np.arange(start, start + 8))) for start in (0, 8, 16)]
    assert rounds[0] == list(range(8))
    assert all(sorted(each) == rounds[0] for each in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    for start in range(0, 24, 2):
        pair = list(trainer._order(np.arange(start, start + 2)))
        assert pair == rounds[start // 8][start % 8:start % 8 + 2]


def test_clips_may_be_shared_by_two_runs(training: Training, videos: TrainingVideos) -> None:
    settings = training(drawn_clips=3, steps=3)
    model = make_model(settings)
    calls: list[int] = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    clips = DrawnClips(model, videos, settings, torch.device('cpu'))
    first = Time2GeneralTrainer(settings, model, videos, clips=clips).run()
    second = Time2GeneralTrainer(settings, make_model(settings), videos, clips=clips).run()
    assert len(calls) == 3
    assert_equal_heads(first, second)


def test_encoded_clips(training: Training, videos: TrainingVideos) -> None:
    settings = training()
    model = make_model(settings)
    clip = DrawnClips(model, videos, settings, torch.device('cpu')).draw(0)
    assert [each.shape for each in clip.features] == [(3, 16, 4, 4)] * 2
    assert {each.dtype for each in clip.features} == {torch.float16}
    assert clip.depth == ()
    assert clip.labels.shape == (3, 56, 56)
    assert clip.labels.dtype == torch.uint8


def test_schedule_falls_to_zero_and_weights_decay(training: Training,
                                                  videos: TrainingVideos) -> None:
    settings = training(steps=100)
    trainer = Time2GeneralTrainer(settings, make_model(settings), videos)
    rates = [trainer.learning_rate(step) for step in range(101)]
    assert rates[0] == pytest.approx(3e-3)
    assert rates[50] == pytest.approx(3e-3 * 0.5 ** 0.9)
    assert rates[100] == 0
    assert all(a > b for a, b in pairwise(rates))
    decayed, free = trainer.optimizer.param_groups
    assert (decayed['weight_decay'], free['weight_decay']) == (0.05, 0)
    assert all(value.ndim > 1 for value in decayed['params'])
    assert all(value.ndim <= 1 for value in free['params'])
    assert len(decayed['params']) + len(free['params']) == len(list(
        trainer.model.head.parameters()))


def test_average_follows_the_weights(training: Training, videos: TrainingVideos) -> None:
    settings = training(average=0.6, steps=3)
    trainer = Time2GeneralTrainer(settings, make_model(settings), videos)
    name = 'decoder.fuse.norm.bias'
    expected = trainer.average.state_dict()[name].clone()

    def follow(step: int, steps: int, text: str) -> None:
        keep = min(0.6, step / (step + 9))
        live = trainer.model.head.state_dict()[name]
        expected.copy_(keep * expected + (1 - keep) * live)
    result = trainer.run(follow)
    torch.testing.assert_close(result.head.state_dict()[name], expected)
    assert not torch.equal(expected, trainer.model.head.state_dict()[name])


def test_result_at_every_checkpoint(training: Training, videos: TrainingVideos) -> None:
    seen: list[tuple[int, Tensor]] = []
    settings = training()
    trainer = Time2GeneralTrainer(settings, make_model(settings), videos)
    result = trainer.run(every=lambda step, model: seen.append(
        (step, model.head.state_dict()['decoder.fuse.norm.bias'].clone())))
    assert [step for step, _ in seen] == [5, 10, 12]
    assert not torch.equal(seen[0][1], seen[1][1])
    assert torch.equal(seen[2][1], result.head.state_dict()['decoder.fuse.norm.bias'])


def predictions(clips: int, frames: int) -> list[ClipPrediction]:
    return [ClipPrediction(torch.randn(clips, 5, 4, requires_grad=True),
                           torch.randn(clips, 5, frames, 4, 6, requires_grad=True))
            for _ in range(2)]


@pytest.mark.parametrize('memory', [True, False])
def test_losses_are_the_weighted_parts(memory: bool) -> None:
    batch, frames = 2, 3
    said = predictions(batch, frames) if memory else predictions(batch * frames, 1)
    labels = torch.randint(0, 3, (batch, frames, 4, 6)).repeat_interleave(4, 2).repeat_interleave(
        4, 3)
    labels[:, 0, :4] = IGNORED
    weights = ClipLossSettings(class_weight=2, mask_weight=3, dice_weight=5, pixel_weight=7,
                               jaccard_weight=11, consistency_weight=13, trim=0.3, decay=0.4)
    found = clip_losses(said, labels, IGNORED, weights)
    tubes = labels if memory else labels.flatten(0, 1)[:, None]
    parts = [set_losses(each, tubes, IGNORED, weights) for each in said]
    logits = torch.stack([each for clip in class_scores(said[-1]) for each in clip])
    small = labels[:, :, 2::4, 2::4]
    expected = {
        **{name: weight * sum(part[name] for part in parts)
           for name, weight in (('class', 2), ('mask', 3), ('dice', 5))},
        'pixel': 7 * F.cross_entropy(logits, small.flatten(0, 1), ignore_index=IGNORED),
        'jaccard': 11 * soft_jaccard_loss(logits, small.flatten(0, 1), IGNORED),
        'consistency': 13 * masked_temporal_consistency(
            logits.view(batch, frames, 3, 4, 6), small, IGNORED, trim=0.3, decay=0.4)}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_a_weight_of_zero_leaves_a_loss_out() -> None:
    labels = torch.randint(0, 3, (2, 3, 8, 12))
    none = {f'{name}_weight': 0 for name in ('class', 'mask', 'dice', 'consistency')}
    assert clip_losses(predictions(2, 3), labels, IGNORED, ClipLossSettings(
        **none, pixel_weight=1)).keys() == {'pixel'}
    assert clip_losses(predictions(2, 3), labels, IGNORED, ClipLossSettings(
        **{**none, 'consistency_weight': 1})).keys() == {'consistency'}
    assert 'consistency' not in clip_losses(predictions(2, 1), labels[:, :1], IGNORED,
                                            ClipLossSettings())


def test_clips_without_a_label_teach_nothing() -> None:
    said = predictions(2, 3)
    labels = torch.full((2, 3, 8, 12), IGNORED)
    losses = clip_losses(said, labels, IGNORED, ClipLossSettings(pixel_weight=1, jaccard_weight=1))
    total = torch.stack(list(losses.values())).sum()
    assert float(total.detach()) == 0
    total.backward()
    for each in said:
        for value in (each.class_logits, each.mask_logits):
            assert value.grad is None or not value.grad.any()


@pytest.mark.parametrize(('size', 'cells'), [((8, 12), (4, 6)), ((56, 70), (8, 10)),
                                             ((7, 9), (2, 3)), ((3, 4), (6, 8))])
def test_labels_in_the_middle_of_cells(size: tuple[int, int], cells: tuple[int, int]) -> None:
    labels = torch.randint(0, 9, (2, *size))
    found = at_cells(labels, torch.Size(cells))
    for y in range(cells[0]):
        for x in range(cells[1]):
            row, column = ((i + 0.5) * whole / parts for i, whole, parts in
                           ((y, size[0], cells[0]), (x, size[1], cells[1])))
            assert torch.equal(found[:, y, x], labels[:, int(row), int(column)])


def test_loss_curves_are_logged(training: Training, videos: TrainingVideos,
                                tmp_path: Path) -> None:
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = training(steps=3)
    Time2GeneralTrainer(settings, make_model(settings), videos, None, tmp_path).run()
    log = EventAccumulator(str(tmp_path))
    log.Reload()
    assert {'loss/class', 'loss/mask', 'loss/consistency', 'learning_rate'} <= set(
        log.Tags()['scalars'])
    assert [event.step for event in log.Scalars('loss/mask')] == [1, 2, 3]
