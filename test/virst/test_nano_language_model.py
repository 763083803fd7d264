"""The small language model: padding, sharing, causality, words, answers, its encodings."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vseg_ros.training_settings import NanoLanguageSettings
from vseg_ros.virst.language_model import IGNORED, LanguageClip
from vseg_ros.virst.nano_language_model import (
    BEGIN,
    END,
    FIRST_WORD,
    PADDING,
    PROMPT,
    UNKNOWN,
    ClipAttention,
    NanoInputs,
    NanoLanguageModel,
    Remembered,
    Sight,
    _places,
    waves,
)
from vseg_ros.words import NO_MATCH, join_words, split_words

WORDS = ('the', 'red', 'white', 'car', 'behind', ',')
GRID, FRAMES, PROMPTS = 3, 2, 2


@pytest.fixture
def model() -> NanoLanguageModel:
    torch.manual_seed(0)
    model = NanoLanguageModel(NanoLanguageSettings(
        width=24, layers=2, heads=2, prompt_count=PROMPTS, grid=GRID, maps=(4, 6)), WORDS)
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn(parameter.shape))
    return model.eval()


def make_clip(seed: int) -> LanguageClip:
    generator = torch.Generator().manual_seed(seed)
    return LanguageClip((), torch.zeros(FRAMES, 1, 1, 1),
                        (torch.randn(FRAMES, 6, 6, 4, generator=generator),
                         torch.randn(FRAMES, 2, 2, 6, generator=generator)))


def test_a_sample_is_begin_question_prompts_answer_end(model: NanoLanguageModel) -> None:
    number = {word: FIRST_WORD + place for place, word in enumerate(WORDS)}
    inputs = model.prepare([make_clip(0)] * 2, ['The RED truck, car', 'car'],
                           ['the car', 'white'])
    first = [BEGIN, number['the'], number['red'], UNKNOWN, number[','], number['car'],
             PROMPT, PROMPT, number['the'], number['car'], END]
    second = [BEGIN, number['car'], PROMPT, PROMPT, number['white'], END] + [PADDING] * 5
    # at the scale of the waves that tell places
    expected = model.embedding(torch.tensor([first, second])) * 24 ** 0.5
    expected[0, 6:8] += model.prompt_places
    expected[1, 2:4] += model.prompt_places
    torch.testing.assert_close(inputs.embeddings, expected)
    assert inputs.prompts.tolist() == [[6, 7], [2, 3]]
    assert inputs.mask.sum(1).tolist() == [11, 6]
    assert inputs.labels is not None
    assert inputs.labels.tolist() == [
        [IGNORED] * 8 + first[8:], [IGNORED] * 4 + second[4:6] + [IGNORED] * 5]
    assert inputs.memory.shape == (1, FRAMES * GRID * GRID, 24), 'one clip is seen once'


@torch.no_grad()
def test_padding_and_batches_change_nothing(model: NanoLanguageModel) -> None:
    clips = [make_clip(0), make_clip(0), make_clip(1)]
    questions = ['the red car behind the white car', 'car', 'white']
    together = model(model.prepare(clips, questions))
    assert together.grounding is not None
    for number, (clip, question) in enumerate(zip(clips, questions, strict=True)):
        alone = model(model.prepare([clip], [question]))
        torch.testing.assert_close(together.prompts[number], alone.prompts[0], atol=1e-5,
                                   rtol=1e-4)
        torch.testing.assert_close(together.grounding[number], alone.grounding[0], atol=1e-5,
                                   rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(('order', 'seen'), [
    ((0, 0, 1, 1), 2), ((0, 0, 0, 1), 4), ((0, 1, 0, 1), 4), ((0, 0, 0, 0), 1), ((0, 1), 2)])
def test_questions_that_share_a_clip(model: NanoLanguageModel, order: tuple[int, ...],
                                     seen: int) -> None:
    """Clips are looked at once where all have as many questions; never is one mixed up."""
    both = [make_clip(0), make_clip(1)]
    questions = ['the red car', 'car', 'white car', 'the car'][:len(order)]
    inputs = model.prepare([both[each] for each in order], questions)
    assert len(inputs.memory) == seen
    together = model(inputs)
    said = model.answer(inputs, 4)
    for number, (which, question) in enumerate(zip(order, questions, strict=True)):
        single = model.prepare([both[which]], [question])
        torch.testing.assert_close(together.prompts[number], model(single).prompts[0], atol=1e-5,
                                   rtol=1e-4)
        assert said[number] == model.answer(single, 4)[0]


@torch.no_grad()
def test_words_after_do_not_change_states_before(model: NanoLanguageModel) -> None:
    clip = [make_clip(0)]
    asked = model(model.prepare(clip, ['the car']))
    for answer in ('white car', 'red'):
        told = model(model.prepare(clip, ['the car'], [answer]))
        torch.testing.assert_close(told.prompts, asked.prompts, atol=1e-6, rtol=1e-5)
    other = model(model.prepare(clip, ['red car']))
    assert not torch.allclose(other.prompts, asked.prompts, atol=1e-3), 'words before do'


@torch.no_grad()
def test_what_is_seen_counts(model: NanoLanguageModel) -> None:
    first, second = (model(model.prepare([make_clip(seed)], ['car'])).prompts for seed in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)


@torch.no_grad()
def test_answer_is_a_greedy_loop(model: NanoLanguageModel) -> None:
    clip = [make_clip(0)]
    for question in ('the red car', 'white', 'car behind the car'):
        said: list[str] = []
        for _ in range(5):
            inputs = model.prepare(clip, [question], [' '.join(said)])
            place = int(inputs.prompts[0, -1]) + len(said)
            scores = model._hidden(inputs)[0, place] @ model.embedding.weight.T
            token = max(range(END, FIRST_WORD + len(WORDS)), key=lambda each: float(scores[each]))
            if token == END:
                break
            said.append(WORDS[token - FIRST_WORD])
        assert model.answer(model.prepare(clip, [question]), 5) == [join_words(said)]


@torch.no_grad()
def test_words_go_on_from_what_is_remembered(model: NanoLanguageModel) -> None:
    """A word after another gives the states that all of them at once give."""
    whole = model.prepare([make_clip(0)], ['the red car behind'])
    expected = model._hidden(whole)
    remembered = [Remembered(*layer.look(whole.memory)) for layer in model._decoder_layers()]
    for first, last in ((0, 3), (3, 4), (4, 7)):
        part = replace(whole, embeddings=whole.embeddings[:, first:last],
                       mask=whole.mask[:, first:last])
        torch.testing.assert_close(model._hidden(part, remembered), expected[:, first:last],
                                   atol=1e-5, rtol=1e-4)
    assert remembered[0].length == 7


@torch.no_grad()
def test_doubt_is_the_chance_that_the_answer_begins_as_no_match_does() -> None:
    torch.manual_seed(0)
    first = split_words(NO_MATCH)[0]
    model = NanoLanguageModel(NanoLanguageSettings(
        width=24, layers=2, heads=2, prompt_count=3, grid=GRID, maps=(4, 6)), (*WORDS, first))
    model.eval()
    questions = ['the red car', 'car']
    doubts = model(model.prepare([make_clip(0)] * 2, questions)).doubts
    for question, doubt in zip(questions, doubts, strict=True):
        inputs = model.prepare([make_clip(0)], [question])
        chances = (model._hidden(inputs)[0, -1] @ model.embedding.weight.T).softmax(0)
        assert float(doubt) == pytest.approx(float(chances[FIRST_WORD + len(WORDS)]), rel=1e-4)


@torch.no_grad()
def test_answer_ends(model: NanoLanguageModel) -> None:
    inputs = model.prepare([make_clip(0)], ['car'])
    state = model._hidden(inputs)[0, -1]
    # nothing else can compare with it at the place of the first word
    model.embedding.weight[END] = 100 * state
    assert model.answer(model.prepare([make_clip(0)], ['car'])) == ['']


@torch.no_grad()
def test_token_loss_is_that_of_the_answers_words(model: NanoLanguageModel) -> None:
    inputs = model.prepare([make_clip(0), make_clip(1)], ['the car', 'car'], ['red car', ''])
    hidden = model._hidden(inputs)
    assert inputs.labels is not None
    losses = []
    for row in range(2):
        for place in range(1, hidden.shape[1]):
            wanted = int(inputs.labels[row, place])
            if wanted != IGNORED:
                scores = (hidden[row, place - 1] @ model.embedding.weight.T).tolist()
                losses.append(math.log(sum(math.exp(each) for each in scores)) - scores[wanted])
    assert len(losses) == 4
    assert float(model(inputs).token_loss) == pytest.approx(sum(losses) / 4, rel=1e-4)
    assert float(model(replace(inputs, labels=None)).token_loss) == 0


def test_unknown_words(model: NanoLanguageModel) -> None:
    assert model.unknown_words('the Purple car, behind: it') == ['purple', ':', 'it']
    assert model.unknown_words('RED car') == []
    states = [model(model.prepare([make_clip(0)], [question])).prompts
              for question in ('the purple car', 'the green car')]
    assert torch.equal(*states)


def test_waves() -> None:
    places = torch.tensor([[0, 1], [7, 23]])
    found = waves(places, 10)
    assert found.shape == (2, 2, 10)
    for row in range(2):
        for column in range(2):
            for number in range(5):
                angle = int(places[row, column]) * math.exp(-9.21 * number / 5)
                assert float(found[row, column, number]) == pytest.approx(math.sin(angle),
                                                                          abs=1e-5)
                assert float(found[row, column, 5 + number]) == pytest.approx(math.cos(angle),
                                                                              abs=1e-5)


def test_places_tell_time_row_and_column() -> None:
    places = _places(2, 3, torch.zeros(1, 12))
    assert places.shape == (2, 3, 3, 12)
    for time in range(2):
        for row in range(3):
            for column in range(3):
                expected = torch.cat([waves(torch.tensor(each), 4)
                                      for each in (time, row, column)])
                torch.testing.assert_close(places[time, row, column], expected)


def test_grounding_compares_what_was_found_with_every_cell(model: NanoLanguageModel) -> None:
    inputs = model.prepare([make_clip(0), make_clip(1)], ['car', 'the car'])
    assert isinstance(inputs, NanoInputs)
    outputs = model(inputs)
    assert outputs.grounding is not None
    for row in range(2):
        wanted = model.grounding(outputs.prompts[row].mean(0))
        for cell in range(FRAMES * GRID * GRID):
            time, place = divmod(cell, GRID * GRID)
            expected = (wanted * inputs.memory[row, cell]).sum() / 24 ** 0.5
            torch.testing.assert_close(
                outputs.grounding[row, time, place // GRID, place % GRID], expected, atol=1e-4,
                rtol=1e-4)


def test_unfolded_maps_hold_what_their_average_loses() -> None:
    torch.manual_seed(0)
    settings = {'width': 24, 'layers': 1, 'heads': 2, 'prompt_count': PROMPTS, 'grid': GRID,
                'maps': (4, 6)}
    averaged = NanoLanguageModel(NanoLanguageSettings.model_validate(settings), WORDS)
    unfolded = NanoLanguageModel(NanoLanguageSettings.model_validate(
        settings | {'folds': (2, 1)}), WORDS)
    state = averaged.state_dict()
    fine, coarse = state['sight.projection.weight'].split((4, 6), 1)
    # four places of a cell that count a quarter each are their average
    state['sight.projection.weight'] = torch.cat([fine / 4] * 4 + [coarse], 1)
    unfolded.load_state_dict(state)
    clip = make_clip(0)
    with torch.no_grad():
        torch.testing.assert_close(unfolded.sight([clip]), averaged.sight([clip]))
    swapped = clip.maps[0].clone()
    swapped[:, 0, 0], swapped[:, 0, 1] = clip.maps[0][:, 0, 1], clip.maps[0][:, 0, 0]
    other = replace(clip, maps=(swapped, clip.maps[1]))
    places = unfolded.sight.projection.weight.data
    places[:, :4] *= 2
    with torch.no_grad():
        torch.testing.assert_close(averaged.sight([other]), averaged.sight([clip]))
        assert (unfolded.sight([other]) - unfolded.sight([clip])).abs().max() > 0.01


def test_maps_that_do_not_unfold_are_told() -> None:
    with pytest.raises(ValidationError, match=r'folds \(2,\) must be one number'):
        NanoLanguageSettings(maps=(4, 6), folds=(2,))
    model = NanoLanguageModel(NanoLanguageSettings(
        width=24, heads=2, grid=GRID, maps=(4, 6), folds=(3, 1)), WORDS)
    with pytest.raises(ValueError, match=r'maps of \(6, 6\) do not unfold 3 times into a grid'):
        model.sight([make_clip(0)])


def test_attention_to_the_clip_against_plain_loops() -> None:
    """Every token looks at the means of 2 x 2 cells of all frames, the last ones of fewer."""
    torch.manual_seed(0)
    layer = ClipAttention(8, 2)
    tokens = torch.randn(2, 2, 3, 3, 8)
    assert torch.equal(layer(tokens), tokens), 'no influence at the start'
    for parameter in layer.parameters():
        parameter.data.add_(0.3 * torch.randn(parameter.shape))
    found = layer(tokens)
    normalised = layer.norm(tokens)
    for clip in range(2):
        means = torch.stack([normalised[clip, frame, row:row + 2, column:column + 2].mean((0, 1))
                             for frame in range(2) for row in (0, 2) for column in (0, 2)])
        keys, values = layer.memory(means).chunk(2, -1)
        for frame, row, column in np.ndindex(2, 3, 3):
            token = tokens[clip, frame, row, column]
            query = layer.query(normalised[clip, frame, row, column])
            heads = []
            for head in (slice(0, 4), slice(4, 8)):
                weights = (keys[:, head] @ query[head] / 2).softmax(0)
                heads.append(weights @ values[:, head])
            torch.testing.assert_close(found[clip, frame, row, column],
                                       token + layer.output(torch.cat(heads)), atol=1e-5,
                                       rtol=1e-4)


def test_attention_follows_the_last_blocks() -> None:
    """What is far away counts with attention alone; a block sees two cells far."""
    far = []
    for attention in (0, 1):
        torch.manual_seed(0)
        sight = Sight(NanoLanguageSettings(width=24, grid=12, maps=(4,), blocks=1,
                                           attention=attention))
        for parameter in sight.parameters():
            parameter.data.add_(0.2 * torch.randn(parameter.shape))
        maps = torch.randn(1, 12, 12, 4)
        changed = maps.clone()
        changed[0, 0, 0] += 1
        seen, other = (sight([LanguageClip((), torch.zeros(1, 1, 1, 1), (each,))])
                       for each in (maps, changed))
        far.append(bool((seen - other)[0, -1].abs().max() > 1e-6))
    assert far == [False, True]


def test_more_attention_than_blocks_is_refused() -> None:
    with pytest.raises(ValidationError, match='attention 3 is above blocks 2'):
        NanoLanguageSettings(blocks=2, attention=3)
