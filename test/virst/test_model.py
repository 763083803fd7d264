"""VIRST as one network, on the small untrained model: questions in a batch, grids, ablations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vseg_ros.training_settings import NanoLanguageSettings, NanoVirstSettings
from vseg_ros.virst.language_model import LanguageClip
from vseg_ros.virst.model import Prompted, Virst
from vseg_ros.virst.nano import new_nano_virst, read_nano_virst
from vseg_ros.virst.nano_language_model import NanoLanguageModel
from vseg_ros.virst.things import ThingEmbedding, single_thing

FRAMES = 3
QUESTIONS = ['the red car', 'the white car', 'car']


@pytest.fixture(scope='module')
def model(tiny_virst: Path) -> Virst:
    model = read_nano_virst(tiny_virst)[0]
    # far from where layers of a fresh model do almost nothing
    generator = torch.Generator().manual_seed(0)
    for part in (model.language, model.initial, model.prompter):
        for parameter in part.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def make_clip(seed: int, cells: int = 12, width: int = 128) -> LanguageClip:
    generator = torch.Generator().manual_seed(seed)
    maps = tuple(torch.randn(FRAMES, cells * 4 // 2 ** level, cells * 4 // 2 ** level, channels,
                             generator=generator)
                 for level, channels in enumerate((32, 64, 160, 256)))
    return LanguageClip((), torch.randn(FRAMES, width, cells, cells, generator=generator), maps)


def assert_alike(many: Prompted, number: int, single: Prompted) -> None:
    one = slice(number, number + 1)
    for ours, expected in ((many.prompts, single.prompts), (many.coarse, single.coarse),
                           *zip(many.grounding, single.grounding, strict=True)):
        torch.testing.assert_close(ours[one], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_questions_in_a_batch_are_questions_on_their_own(model: Virst) -> None:
    clips = [make_clip(0), make_clip(1)]
    together = model.ask(model.fuse_clips(clips), QUESTIONS * 2)
    assert together.prompts.shape == (6, 2, FRAMES, 128)
    assert [each.shape for each in together.grounding] == [(6, 3, 6, 6), (6, 3, 12, 12)]
    for index, clip in enumerate(clips):
        fused = model.fuse_clips([clip])
        for number, question in enumerate(QUESTIONS):
            assert_alike(together, 3 * index + number, model.ask(fused, [question]))


@torch.no_grad()
def test_what_prompts_depend_on(model: Virst) -> None:
    clip = make_clip(0)
    first = model.ask(model.fuse_clips([clip]), ['the red car']).prompts
    other = model.ask(model.fuse_clips([clip]), ['the white car']).prompts
    assert not torch.allclose(first, other, atol=1e-3)
    assert not torch.allclose(first[:, :, 0], first[:, :, 1], atol=1e-3), 'a prompt a frame'
    features = clip.features.clone()
    features[2] += 1
    changed = model.ask(model.fuse_clips([LanguageClip((), features, clip.maps)]),
                        ['the red car'])
    assert not torch.allclose(first[:, :, 0], changed.prompts[:, :, 0], atol=1e-4)


@torch.no_grad()
def test_tokens_are_fused_before_the_language_model_reads_them(model: Virst) -> None:
    fused = model.fuse_clips([make_clip(0)])
    asked = model.ask(fused, ['the red car'])
    plain = model.language.prepare(fused.clips, ['the red car'])
    expected = model.initial.fuse(plain.prompt_embeddings(), fused.initial)
    torch.testing.assert_close(asked.inputs.prompt_embeddings(), expected)
    assert not torch.allclose(expected, plain.prompt_embeddings(), atol=1e-3)


def bilinear(cells: torch.Tensor, row: int, column: int) -> float:
    """A 6 x 6 map at a cell of a 12 x 12 one."""
    places = [min(max((each + 0.5) / 2 - 0.5, 0.0), 5.0) for each in (row, column)]
    found = 0.0
    for y in range(6):
        for x in range(6):
            found += (max(0.0, 1 - abs(places[0] - y)) * max(0.0, 1 - abs(places[1] - x))
                      * float(cells[y, x]))
    return found


@torch.no_grad()
def test_coarse_prompt_is_where_prompts_and_cells_agree(model: Virst) -> None:
    clip = make_clip(2)
    fused = model.fuse_clips([clip])
    asked = model.ask(fused, ['the red car'])
    assert fused.refined is not None
    assert asked.coarse is not None
    expected = torch.zeros(FRAMES, 12, 12)
    for frame in range(FRAMES):
        wanted = sum(asked.prompts[0, token, frame] for token in range(2)) / 2
        for cell in range(144):
            likeness = (wanted * fused.refined[0, frame, cell]).sum() / 128 ** 0.5
            row, column = divmod(cell, 12)
            # corrects, frame by frame, where the language model looks
            total = likeness + bilinear(asked.grounding[0][0, frame], row, column)
            expected[frame, row, column] = 1 / (1 + torch.exp(-total))
    torch.testing.assert_close(asked.coarse[0], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(asked.grounding[1].sigmoid(), asked.coarse)
    prompt = asked.on(1)
    assert torch.equal(prompt.tokens, asked.prompts[:, :, 1])
    assert prompt.coarse is not None
    assert torch.equal(prompt.coarse, asked.coarse[:, 1])


@torch.no_grad()
def test_coarse_prompt_is_one_single_thing_where_tokens_know_things_apart(model: Virst) -> None:
    assert isinstance(model.language, NanoLanguageModel)
    fused = model.fuse_clips([make_clip(2), make_clip(3)])
    heat = model.ask(fused, QUESTIONS[:2] * 2).grounding[1]
    torch.manual_seed(0)
    model.language.things = ThingEmbedding(model.language.width, 8)
    try:
        asked = model.ask(fused, QUESTIONS[:2] * 2)
    finally:
        model.language.things = None
    assert asked.coarse is not None
    assert asked.sameness is not None
    assert asked.coarse.shape == (4, FRAMES, 6, 6), 'on the grid of the language model'
    torch.testing.assert_close(asked.grounding[1], heat)
    # a cell of its grid is the mean of four of the second fusion's
    means = heat.view(4, FRAMES, 6, 2, 6, 2).mean((3, 5))
    torch.testing.assert_close(asked.coarse, single_thing(means, asked.sameness))


@torch.no_grad()
def test_without_coarse_prompts(model: Virst) -> None:
    fused = model.fuse_clips([make_clip(2)])
    with_coarse = model.ask(fused, ['car'])
    model.coarse = False
    try:
        without = model.ask(fused, ['car'])
    finally:
        model.coarse = True
    assert without.coarse is None
    assert without.on(0).coarse is None
    assert torch.equal(without.prompts, with_coarse.prompts)


@torch.no_grad()
def test_single_fusion_gives_one_prompt_for_all_frames() -> None:
    settings = NanoVirstSettings(
        side=64, width=64, heads=2, single_fusion=True,
        language=NanoLanguageSettings(width=24, layers=1, heads=2, prompt_count=2, grid=4))
    torch.manual_seed(0)
    model = new_nano_virst(settings, ('red', 'car')).eval()
    fused = model.fuse_clips([make_clip(3, cells=4, width=64)])
    assert fused.refined is None
    asked = model.ask(fused, ['red car', 'car'])
    assert asked.prompts.shape == (2, 2, FRAMES, 64)
    assert torch.equal(asked.prompts[:, :, 0], asked.prompts[:, :, 2])
    assert asked.coarse is None
    assert asked.grounding == ()


def test_token_loss_of_answers(model: Virst) -> None:
    fused = model.fuse_clips([make_clip(0)])
    assert float(model.ask(fused, ['car']).token_loss) == 0
    assert float(model.ask(fused, ['car'], ['the red car']).token_loss) > 0
