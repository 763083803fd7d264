"""Training of VIRST in stages on two tiny clips: what learns, from what, and that it does."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.models.encoded_clips import EncodedClip
from vseg_ros.training_settings import (
    NanoLanguageSettings,
    NanoVirstSettings,
    VirstTrainingSettings,
)
from vseg_ros.virst.claims import ThingClaims
from vseg_ros.virst.model import Virst
from vseg_ros.virst.nano import new_nano_virst
from vseg_ros.virst.training import (
    Question,
    VirstTrainer,
    draw_batch,
    freeze_for_stage,
    grounding_loss,
)

FRAMES, SIDE = 3, 32
QUESTIONS = [Question('the left one', 'it is the left one', frozenset({1})),
             Question('the right one', 'it is the right one', frozenset({2})),
             Question('both', 'it is both', frozenset({1, 2})),
             Question('a tree', 'no tree', frozenset())]
WORDS = ('the', 'left', 'right', 'one', 'both', 'a', 'tree', 'it', 'is', 'no')


class TwoClips:
    """Two squares that drift; the encoder's maps are noise with the squares in it."""

    def __init__(self, asked: int = len(QUESTIONS)) -> None:
        self._asked = asked

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> EncodedClip:
        generator = torch.Generator().manual_seed(index)
        regions = torch.zeros(FRAMES, SIDE, SIDE, dtype=torch.int32)
        for frame in range(FRAMES):
            regions[frame, 8:20, 2 + 2 * frame:10 + 2 * frame] = 1
            regions[frame, 8 + 4 * index:24, 20:30] = 2
        maps = []
        for level, channels in enumerate((32, 64, 160, 256)):
            side = 16 // 2 ** level
            noise = torch.randn(FRAMES, side, side, channels, generator=generator)
            near = torch.nn.functional.adaptive_avg_pool2d(regions.float()[:, None], side)
            noise[..., :8] += 3 * near[:, 0, ..., None]
            maps.append(noise.half())
        return EncodedClip(tuple(maps), regions, '')

    def questions(self, index: int, count: int, random: np.random.Generator) -> list[Question]:
        return [QUESTIONS[each] for each in random.permutation(self._asked)[:count]]

    def claims(self, index: int) -> ThingClaims | None:
        if index:
            return None
        truth = torch.tensor([[1.0, 0.0, math.nan], [0.0, 1.0, 1.0]])
        return ThingClaims(torch.tensor([1, 2]), truth, torch.tensor([0.0, 0.0, math.nan]))


def make_model(dropout: float = 0.0, claims: int = 0) -> Virst:
    torch.manual_seed(0)
    return new_nano_virst(NanoVirstSettings(
        side=64, width=64, heads=2, layers=1, frames=FRAMES,
        language=NanoLanguageSettings(width=24, layers=1, heads=2, prompt_count=2, grid=4,
                                      claims=claims, dropout=dropout)), WORDS)


def make_settings(stage: int, **values: object) -> VirstTrainingSettings:
    return VirstTrainingSettings.model_validate(
        {'stage': stage, 'steps': 4, 'batch': 2, 'questions': 3, 'frames': FRAMES,
         'grounding': 1.0, 'learning_rate': 3e-3, 'warmup_steps': 1, 'checkpoint_every': 1}
        | values)


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


def test_what_was_frozen_stays_frozen_outside_of_sam() -> None:
    model = make_model()
    model.language.embedding.requires_grad_(False)
    freeze_for_stage(model, 1)
    assert not model.language.embedding.weight.requires_grad
    assert model.language.norm.weight.requires_grad


def test_a_batch() -> None:
    clips = TwoClips(asked=2)
    batch = draw_batch(clips, make_settings(1, frames=2), np.random.default_rng(0))
    assert [tuple(level.shape) for level in batch.maps] == [
        (2, 2, 16, 16, 32), (2, 2, 8, 8, 64), (2, 2, 4, 4, 160), (2, 2, 2, 2, 256)]
    assert batch.masks.shape == (6, 2, SIDE, SIDE)
    for clip in range(2):
        asked = batch.questions[3 * clip:3 * clip + 3]
        assert asked[0] != asked[1]
        assert asked[2] == asked[0], 'asked again where there are too few'
        frames = [[frame for frame in range(FRAMES) if torch.equal(
            clips[which].maps[0][frame], batch.maps[0][clip, place])] for which in range(2)
            for place in range(2)]
        index = 0 if frames[0] else 1
        order = [each[0] for each in frames[2 * index:2 * index + 2]]
        assert order == sorted(order)
        for number, question in enumerate(asked):
            for place, frame in enumerate(order):
                regions = clips[index].regions[frame]
                expected = torch.zeros(SIDE, SIDE, dtype=torch.bool)
                for region in question.regions:
                    expected |= regions == region
                assert torch.equal(batch.masks[3 * clip + number, place], expected)


def test_what_matches_nothing_has_empty_masks() -> None:
    batch = draw_batch(TwoClips(), make_settings(1, questions=4), np.random.default_rng(0))
    empty = [number for number, each in enumerate(batch.questions) if not each.regions]
    assert len(empty) == 2
    assert not batch.masks[empty].any()


def test_stage_2_takes_single_images() -> None:
    batch = draw_batch(TwoClips(), make_settings(2), np.random.default_rng(0))
    assert {level.shape[1] for level in batch.maps} == {1}
    assert batch.masks.shape[1] == 1


class NoClips(TwoClips):
    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize('clips', [TwoClips(asked=0), NoClips()])
def test_nothing_to_ask_is_said(clips: TwoClips) -> None:
    with pytest.raises(UserError, match='no clip has a question'):
        draw_batch(clips, make_settings(1), np.random.default_rng(0))


def test_grounding_loss_cell_by_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    heat = torch.randn(2, 2, 2, 2, generator=generator)
    masks = torch.rand(2, 2, 4, 4, generator=generator) < 0.4
    masks[1] = False
    entropy = weights = 0.0
    dice = []
    for sample in range(2):
        both = probabilities = shares = 0.0
        for frame in range(2):
            for row in range(2):
                for column in range(2):
                    cell = masks[sample, frame, 2 * row:2 * row + 2, 2 * column:2 * column + 2]
                    share = float(cell.float().mean())
                    p = 1 / (1 + math.exp(-float(heat[sample, frame, row, column])))
                    weight = 1 + 9 * share
                    entropy -= weight * (share * math.log(p) + (1 - share) * math.log(1 - p))
                    weights += weight
                    both, probabilities, shares = both + p * share, probabilities + p, (
                        shares + share)
        if masks[sample].any():
            dice.append(1 - (2 * both + 0.1) / (probabilities + shares + 0.1))
    assert len(dice) == 1
    assert float(grounding_loss(heat, masks)) == pytest.approx(
        entropy / weights + sum(dice) / len(dice), rel=1e-5)
    assert torch.isfinite(grounding_loss(heat, torch.zeros_like(masks)))


@pytest.mark.parametrize('stage', [0, 1, 2, 3])
def test_a_few_steps_lower_the_loss(stage: int) -> None:
    settings = make_settings(stage, steps=14, average=0.0)
    trainer = VirstTrainer(settings, make_model(), TwoClips())
    frozen = {name: value.clone() for name, value in trainer.model.named_parameters()
              if not value.requires_grad}
    batch = draw_batch(TwoClips(), settings, np.random.default_rng(9))

    def losses() -> dict[str, float]:
        with torch.no_grad():
            return {name: float(value) for name, value in trainer.losses(
                batch, np.random.default_rng(1)).items()}

    before = losses()
    assert set(before) == {'total', 'token', 'words'} | (
        {'bce', 'dice', 'occlusion', 'iou', 'frames'} if stage else set())
    trainer.run()
    after = losses()
    assert after['total'] < 0.9 * before['total']
    assert after['token'] < before['token']
    assert all(torch.equal(frozen[name], value)
               for name, value in trainer.model.named_parameters() if name in frozen)


def test_losses_are_weighted() -> None:
    settings = make_settings(1, loss_weights={'bce': 2.0, 'dice': 3.0, 'token': 5.0,
                                              'occlusion': 7.0, 'iou': 11.0}, grounding=13.0)
    trainer = VirstTrainer(settings, make_model(), TwoClips())
    with torch.no_grad():
        losses = trainer.losses(draw_batch(TwoClips(), settings, np.random.default_rng(0)),
                                np.random.default_rng(0))
    weights = {'bce': 2, 'dice': 3, 'token': 5, 'occlusion': 7, 'iou': 11, 'words': 13,
               'frames': 13}
    assert set(weights) == set(losses) - {'total'}
    expected = sum(weight * float(losses[name]) for name, weight in weights.items())
    assert float(losses['total']) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('stage', [0, 1])
def test_visual_tokens_learn_what_they_show(stage: int) -> None:
    settings = make_settings(stage, steps=30, claims=2.0, grounding=0.0, anchors=0)
    trainer = VirstTrainer(settings, make_model(claims=3), TwoClips())
    batch = draw_batch(TwoClips(), settings, np.random.default_rng(9))
    assert {claims is None for claims in batch.claims} == {False, True}, 'one clip of each'

    def losses() -> dict[str, float]:
        with torch.no_grad():
            return {name: float(value) for name, value in trainer.losses(
                batch, np.random.default_rng(1)).items()}

    before = losses()
    assert before['total'] == pytest.approx(before['token'] + 2 * before['claims'], rel=1e-5)
    trainer.run()
    assert losses()['claims'] < 0.5 * before['claims']


def test_claims_are_not_asked_for_without_their_weight() -> None:
    settings = make_settings(0)
    batch = draw_batch(TwoClips(), settings, np.random.default_rng(0))
    assert batch.claims == [None, None]
    losses = VirstTrainer(settings, make_model(claims=3), TwoClips()).losses(
        batch, np.random.default_rng(0))
    assert 'claims' not in losses


def test_a_mask_decoder_that_is_told_draws_from_what_it_is_told() -> None:
    losses = {}
    for told in (0.0, 1.0):
        settings = make_settings(2, told=told)
        trainer = VirstTrainer(settings, make_model(), TwoClips())
        batch = draw_batch(TwoClips(), settings, np.random.default_rng(0))
        losses[told] = trainer.losses(batch, np.random.default_rng(0))
    assert float(losses[1.0]['dice'].detach()) != float(losses[0.0]['dice'].detach())
    # what language model and second fusion see is judged by itself
    for name in ('token', 'words', 'frames'):
        assert torch.equal(losses[1.0][name], losses[0.0][name])


@pytest.mark.parametrize('stage', [0, 3])
def test_mixed_precision_is_near_the_exact_one(stage: int) -> None:
    said: dict[str, list[str]] = {}
    for precision in ('float32', 'bfloat16'):
        settings = make_settings(stage, steps=3, precision=precision)
        lines = said.setdefault(precision, [])
        result = VirstTrainer(settings, make_model(), TwoClips()).run(
            lambda step, steps, text, lines=lines: lines.append(text))
        assert all(value.dtype == torch.float32 for value in result.parameters())
    totals = {precision: [float(line.split()[1]) for line in lines]
              for precision, lines in said.items()}
    assert totals['bfloat16'] != totals['float32']
    assert totals['bfloat16'] == pytest.approx(totals['float32'], rel=0.05)


class InterruptedRunError(Exception):
    """The run is cut off."""


@pytest.mark.parametrize('stage', [0, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, stage: int) -> None:
    settings = make_settings(stage, batch=1, questions=2)
    whole = VirstTrainer(settings, make_model(0.3), TwoClips()).run()

    def interrupt(step: int, steps: int, text: str) -> None:
        if step == 3:
            raise InterruptedRunError

    checkpoint = tmp_path / 'stage.pt'
    with pytest.raises(InterruptedRunError):
        VirstTrainer(settings, make_model(0.3), TwoClips(), checkpoint).run(interrupt)
    # what a new process begins with does not matter, not even SAM 2's encoding of places
    torch.manual_seed(5)
    other = make_model(0.3)
    other.sam.shared_image_embedding.positional_embedding.add_(1.0)
    torch.manual_seed(7)
    resumed = VirstTrainer(settings, other, TwoClips(), checkpoint)
    assert resumed.step == 2
    result = resumed.run().state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(result[name], value), name
    assert [path.name for path in tmp_path.iterdir()] == ['stage.pt']


def test_a_checkpoint_that_is_not_ones_own(tmp_path: Path) -> None:
    checkpoint = tmp_path / 'stage.pt'
    VirstTrainer(make_settings(0, steps=1, batch=1), make_model(), TwoClips(), checkpoint).run()
    with pytest.raises(UserError, match='damaged or of a run with other settings'):
        VirstTrainer(make_settings(1), make_model(), TwoClips(), checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(UserError, match='damaged'):
        VirstTrainer(make_settings(0), make_model(), TwoClips(), checkpoint)
    checkpoint.write_bytes(b'')
    with pytest.raises(UserError, match='damaged'):
        VirstTrainer(make_settings(0), make_model(), TwoClips(), checkpoint)
