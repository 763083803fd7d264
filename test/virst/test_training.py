"""Training of VIRST in stages on two tiny clips: what learns, from what, and that it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.training_settings import (
    NanoLanguageSettings,
    NanoVirstSettings,
    VirstTrainingSettings,
)
from vseg_ros.virst.model import Virst
from vseg_ros.virst.nano import new_nano_virst
from vseg_ros.virst.training import VirstTrainer, freeze_for_stage
from vseg_ros.virst.training_batches import Batch, QuestionedClips, draw_batch

FRAMES = 3
"""Of the two clips."""
WORDS = ('the', 'left', 'right', 'one', 'both', 'a', 'tree', 'it', 'is', 'no')
Clips = Callable[..., QuestionedClips]
Settings = Callable[..., VirstTrainingSettings]


def make_model(dropout: float = 0.0, claims: int = 0, things: int = 0) -> Virst:
    torch.manual_seed(0)
    return new_nano_virst(NanoVirstSettings(
        side=64, width=64, heads=2, layers=1, frames=FRAMES,
        language=NanoLanguageSettings(width=24, layers=1, heads=2, prompt_count=2, grid=4,
                                      claims=claims, things=things, dropout=dropout)), WORDS)


def losses_of(trainer: VirstTrainer, batch: Batch) -> dict[str, float]:
    with torch.no_grad():
        return {name: float(value) for name, value in trainer.losses(
            batch, np.random.default_rng(1)).items()}


OUTSIDE = {'language', 'initial', 'prompter'}
DECODING = {'sam.mask_decoder', 'sam.memory_attention', 'sam.memory_encoder',
            'sam.memory_temporal_positional_encoding', 'sam.no_memory_embedding',
            'sam.no_object_pointer', 'sam.object_pointer_proj',
            'sam.occlusion_spatial_embedding_parameter'}
REST = {'sam.vision_encoder.neck', 'sam.prompt_encoder', 'sam.mask_downsample',
        'sam.no_memory_positional_encoding'}


@pytest.mark.parametrize(('stage', 'expected'), [
    (0, {'language'}), (1, OUTSIDE), (2, OUTSIDE | DECODING), (3, OUTSIDE | DECODING | REST)])
def test_what_learns(stage: int, expected: set[str]) -> None:
    model = make_model()
    learning = freeze_for_stage(model, stage)
    found = set()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == any(each is parameter for each in learning)
        if parameter.requires_grad:
            parts = name.split('.')
            depth = 1 if parts[0] != 'sam' else 3 if parts[1] == 'vision_encoder' else 2
            found.add('.'.join(parts[:depth]))
    extra = {'sam.temporal_positional_encoding_projection_layer'} if stage > 1 else set()
    assert expected <= found <= expected | extra
    assert not any(each.requires_grad for each in model.sam.vision_encoder.backbone.parameters())


@pytest.mark.parametrize('stage', [2, 3])
def test_sam_alone_learns(stage: int, two_clips: Clips, make_settings: Settings) -> None:
    settings = make_settings(stage, steps=14, average=0.0, sam_alone=True)
    trainer = VirstTrainer(settings, make_model(), two_clips())
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    batch = draw_batch(two_clips(), settings, np.random.default_rng(9))
    first = losses_of(trainer, batch)
    trainer.run()
    last = losses_of(trainer, batch)
    assert last['dice'] + last['bce'] < 0.95 * (first['dice'] + first['bce'])
    if stage == 2:  # in stage 3 features change that language model and fusions see
        assert (last['token'], last['words']) == (first['token'], first['words'])
    changed = {name.split('.')[0] for name, value in trainer.model.named_parameters()
               if not torch.equal(before[name], value)}
    assert changed == {'sam'}


@pytest.mark.parametrize('stage', [0, 1])
def test_sam_alone_where_it_is_frozen_is_refused(stage: int, make_settings: Settings) -> None:
    with pytest.raises(ValueError, match=f'lets nothing learn in stage {stage},'):
        make_settings(stage, sam_alone=True)


def test_what_was_frozen_stays_frozen_outside_of_sam() -> None:
    model = make_model()
    model.language.embedding.requires_grad_(False)
    freeze_for_stage(model, 1)
    assert not model.language.embedding.weight.requires_grad
    assert model.language.norm.weight.requires_grad


@pytest.mark.parametrize('stage', [0, 1, 2, 3])
def test_a_few_steps_lower_the_loss(stage: int, two_clips: Clips, make_settings: Settings) -> None:
    settings = make_settings(stage, steps=14, average=0.0)
    trainer = VirstTrainer(settings, make_model(), two_clips())
    frozen = {name: value.clone() for name, value in trainer.model.named_parameters()
              if not value.requires_grad}
    batch = draw_batch(two_clips(), settings, np.random.default_rng(9))

    before = losses_of(trainer, batch)
    assert set(before) == {'total', 'token', 'words'} | (
        {'bce', 'dice', 'occlusion', 'iou', 'frames'} if stage else set())
    trainer.run()
    after = losses_of(trainer, batch)
    assert after['total'] < 0.9 * before['total']
    assert after['token'] < before['token']
    assert all(torch.equal(frozen[name], value)
               for name, value in trainer.model.named_parameters() if name in frozen)


UNASKED = {
    2: ('memory_attention.', 'memory_encoder.', 'memory_temporal_positional_encoding',
        'no_object_pointer', 'object_pointer_proj.', 'occlusion_spatial_embedding_parameter',
        'temporal_positional_encoding_projection_layer.'),
    3: ('no_memory_positional_encoding', 'mask_downsample.')}
"""What no frame asks for: in stage 2 the memory, in stage 3 what SAM 2 has for given masks."""


@pytest.mark.parametrize('stage', [2, 3])
def test_what_is_said_to_learn_gets_a_gradient(stage: int, two_clips: Clips,
                                               make_settings: Settings) -> None:
    settings = make_settings(stage)
    trainer = VirstTrainer(settings, make_model(), two_clips())
    losses = trainer.losses(draw_batch(two_clips(), settings, np.random.default_rng(0)),
                            np.random.default_rng(0))
    torch.autograd.backward(losses['total'])
    without = [name for name, value in trainer.model.named_parameters()
               if value.requires_grad and value.grad is None]
    assert all(name.removeprefix('sam.').startswith(UNASKED[stage]) for name in without), without
    for narrowing in (trainer.model.sam.mask_decoder.conv_s0,
                      trainer.model.sam.mask_decoder.conv_s1):
        assert narrowing.weight.grad.abs().sum() > 0


def test_losses_are_weighted(two_clips: Clips, make_settings: Settings) -> None:
    settings = make_settings(1, loss_weights={'bce': 2.0, 'dice': 3.0, 'token': 5.0,
                                              'occlusion': 7.0, 'iou': 11.0}, grounding=13.0,
                             things=17.0, choice=19.0, claims=23.0)
    trainer = VirstTrainer(settings, make_model(claims=3, things=4), two_clips())
    with torch.no_grad():
        losses = trainer.losses(draw_batch(two_clips(), settings, np.random.default_rng(0)),
                                np.random.default_rng(0))
    weights = {'bce': 2, 'dice': 3, 'token': 5, 'occlusion': 7, 'iou': 11, 'words': 13,
               'frames': 13, 'things': 17, 'choice-words': 19, 'choice-frames': 19, 'claims': 23}
    assert set(weights) == set(losses) - {'total'}
    expected = sum(weight * float(losses[name]) for name, weight in weights.items())
    assert float(losses['total']) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('stage', [0, 1])
def test_visual_tokens_learn_what_they_show(stage: int, two_clips: Clips,
                                            make_settings: Settings) -> None:
    settings = make_settings(stage, steps=30, claims=2.0, grounding=0.0, anchors=0)
    trainer = VirstTrainer(settings, make_model(claims=3), two_clips())
    batch = draw_batch(two_clips(), settings, np.random.default_rng(9))
    assert {claims is None for claims in batch.claims} == {False, True}, 'one clip of each'

    before = losses_of(trainer, batch)
    assert before['total'] == pytest.approx(before['token'] + 2 * before['claims'], rel=1e-5)
    trainer.run()
    assert losses_of(trainer, batch)['claims'] < 0.5 * before['claims']


def test_tokens_learn_which_show_the_same_thing_and_which_is_meant(
        two_clips: Clips, make_settings: Settings) -> None:
    settings = make_settings(0, steps=60, things=1.0, choice=1.0, learning_rate=1e-2)
    trainer = VirstTrainer(settings, make_model(things=4), two_clips())
    batch = draw_batch(two_clips(), settings, np.random.default_rng(9))

    before = losses_of(trainer, batch)
    trainer.run()
    after = losses_of(trainer, batch)
    assert after['things'] < 0.7 * before['things']
    assert after['choice-words'] < 0.5 * before['choice-words']


def test_claims_are_not_asked_for_without_their_weight(two_clips: Clips,
                                                       make_settings: Settings) -> None:
    settings = make_settings(0)
    batch = draw_batch(two_clips(), settings, np.random.default_rng(0))
    assert batch.claims == [None, None]
    losses = VirstTrainer(settings, make_model(claims=3), two_clips()).losses(
        batch, np.random.default_rng(0))
    assert 'claims' not in losses


def test_a_mask_decoder_that_is_told_draws_from_what_it_is_told(two_clips: Clips,
                                                                make_settings: Settings) -> None:
    losses = {}
    for told in (0.0, 1.0):
        settings = make_settings(2, told=told)
        trainer = VirstTrainer(settings, make_model(), two_clips())
        batch = draw_batch(two_clips(), settings, np.random.default_rng(0))
        losses[told] = trainer.losses(batch, np.random.default_rng(0))
    assert float(losses[1.0]['dice'].detach()) != float(losses[0.0]['dice'].detach())
    # what language model and second fusion see is judged by itself
    for name in ('token', 'words', 'frames'):
        assert torch.equal(losses[1.0][name], losses[0.0][name])


@pytest.mark.parametrize('stage', [0, 3])
def test_mixed_precision_is_near_the_exact_one(stage: int, two_clips: Clips,
                                               make_settings: Settings) -> None:
    said: dict[str, list[str]] = {}
    for precision in ('float32', 'bfloat16'):
        settings = make_settings(stage, steps=3, precision=precision)
        lines = said.setdefault(precision, [])
        result = VirstTrainer(settings, make_model(), two_clips()).run(
            lambda step, steps, text, lines=lines: lines.append(text))
        assert all(value.dtype == torch.float32 for value in result.parameters())
    totals = {precision: [float(line.split()[1]) for line in lines]
              for precision, lines in said.items()}
    assert totals['bfloat16'] != totals['float32']
    assert totals['bfloat16'] == pytest.approx(totals['float32'], rel=0.05)


class InterruptedRunError(Exception):
    """The run is cut off."""


@pytest.mark.parametrize('stage', [0, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, stage: int, two_clips: Clips,
                                                   make_settings: Settings) -> None:
    settings = make_settings(stage, batch=1, questions=2)
    whole = VirstTrainer(settings, make_model(0.3), two_clips()).run()

    def interrupt(step: int, steps: int, text: str) -> None:
        if step == 3:
            raise InterruptedRunError

    checkpoint = tmp_path / 'stage.pt'
    with pytest.raises(InterruptedRunError):
        VirstTrainer(settings, make_model(0.3), two_clips(), checkpoint).run(interrupt)
    # what a new process begins with does not matter, not even SAM 2's encoding of places
    torch.manual_seed(5)
    other = make_model(0.3)
    other.sam.shared_image_embedding.positional_embedding.add_(1.0)
    torch.manual_seed(7)
    resumed = VirstTrainer(settings, other, two_clips(), checkpoint)
    assert resumed.step == 2
    result = resumed.run().state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(result[name], value), name
    assert [path.name for path in tmp_path.iterdir()] == ['stage.pt']


def test_a_checkpoint_that_is_not_ones_own(tmp_path: Path, two_clips: Clips,
                                           make_settings: Settings) -> None:
    checkpoint = tmp_path / 'stage.pt'
    VirstTrainer(make_settings(0, steps=1, batch=1), make_model(), two_clips(), checkpoint).run()
    with pytest.raises(UserError, match='damaged or of a run with other settings'):
        VirstTrainer(make_settings(1), make_model(), two_clips(), checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(UserError, match='damaged'):
        VirstTrainer(make_settings(0), make_model(), two_clips(), checkpoint)
    checkpoint.write_bytes(b'')
    with pytest.raises(UserError, match='damaged'):
        VirstTrainer(make_settings(0), make_model(), two_clips(), checkpoint)
