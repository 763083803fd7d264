"""A small model that doubts that anything matches: empty masks, and following that waits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vseg_ros.frame import Frame
from vseg_ros.settings import VirstSettings
from vseg_ros.training_settings import NanoLanguageSettings, NanoVirstSettings
from vseg_ros.virst.model import Virst
from vseg_ros.virst.nano import new_nano_virst
from vseg_ros.virst.nano_language_model import FIRST_WORD, NanoLanguageModel
from vseg_ros.virst.query import (
    EXPECTED_LOOK,
    LOOK_WEIGHT,
    MOST_DOUBT,
    VirstQuery,
    doubt_of,
    weigh_doubt,
)
from vseg_ros.words import NO_MATCH

WORDS = ('the', 'car', *dict.fromkeys(NO_MATCH.split()))
STEP = 100_000_000


def make_frames(count: int, first: int = 0) -> list[Frame]:
    random = np.random.default_rng(first)
    return [Frame(random.integers(0, 256, (48, 64, 3)).astype(np.uint8), (index + 1) * STEP)
            for index in range(first, first + count)]


@pytest.fixture
def model() -> Virst:
    torch.manual_seed(0)
    model = new_nano_virst(NanoVirstSettings(
        side=64, width=64, heads=2, layers=1, frames=3, language=NanoLanguageSettings(
            width=24, layers=1, heads=2, prompt_count=2, grid=4)), WORDS)
    model.eval().requires_grad_(False)
    model.sam.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(100.0)
    return model


def make_query(model: Virst) -> VirstQuery:
    return VirstQuery(VirstSettings.model_validate({
        'device': 'cpu', 'window': {'max_frames': 8}, 'follow': {'reanchor': 0.3}}), model)


def doubt(model: Virst, sure: bool) -> None:
    """Make the model sure that nothing matches, or that something does."""
    language = model.language
    assert isinstance(language, NanoLanguageModel)
    language.norm.weight.zero_()
    language.norm.bias.zero_()
    language.norm.bias[0] = 10.0
    language.embedding.weight[:, 0] = 0.0
    first = FIRST_WORD + WORDS.index(NO_MATCH.split()[0])
    language.embedding.weight[first, 0] = 10.0 if sure else -10.0


def test_where_nothing_matches_no_mask_is_drawn(model: Virst) -> None:
    doubt(model, True)
    query = make_query(model)
    frames = make_frames(7)
    track = query.ask(frames, 'the car')
    assert not track.masks.any()
    assert not track.visible.any()
    assert track.masks.shape == (7, 48, 64)
    assert (track.text, track.score < 0.01) == (NO_MATCH, True)
    assert query.ask(frames, 'the zebra').text == f'{NO_MATCH} (words it does not know: zebra)'
    assert query.encoder.encoded == 3, 'frames that nobody looks for anything in are not encoded'


def test_where_something_matches_the_mask_decoder_speaks(model: Virst) -> None:
    doubt(model, False)
    assert make_query(model).ask(make_frames(7), 'the car').visible.all()


def test_following_waits_until_something_matches(model: Virst,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    doubt(model, True)
    query = make_query(model)
    query.ask(make_frames(4), 'the car')
    follower = query.follow()
    seen = [follower.step(frame) for frame in make_frames(3, 4)]
    doubt(model, False)
    monkeypatch.setattr(query, '_words', lambda prompted, text: f'now {text} is there')
    seen += [follower.step(frame) for frame in make_frames(4, 7)]
    assert [each.visible.item() for each in seen] == [False] * 5 + [True] * 2, \
        'asked again every three frames'
    assert [each.text for each in seen] == [NO_MATCH] * 5 + ['now the car is there'] * 2


def test_following_stops_where_nothing_matches_any_more(model: Virst) -> None:
    doubt(model, False)
    query = make_query(model)
    said = query.ask(make_frames(4), 'the car').text
    follower = query.follow()
    doubt(model, True)
    seen = [follower.step(frame) for frame in make_frames(4, 4)]
    assert [each.visible.item() for each in seen] == [True, True, False, False]
    assert [each.text for each in seen] == [said, said, NO_MATCH, NO_MATCH]


def test_words_are_made_when_something_comes_and_not_again(
        model: Virst, monkeypatch: pytest.MonkeyPatch) -> None:
    query = make_query(model)
    made: list[str] = []
    monkeypatch.setattr(query, '_words', lambda prompted, text: (
        made.append(text), f'answer {len(made)}')[1])
    doubt(model, False)
    query.ask(make_frames(4), 'the car')
    follower = query.follow()
    texts = [follower.step(frame).text for frame in make_frames(9, 4)]
    doubt(model, True)
    texts += [follower.step(frame).text for frame in make_frames(6, 13)]
    doubt(model, False)
    texts += [follower.step(frame).text for frame in make_frames(6, 19)]
    assert list(dict.fromkeys(texts)) == ['answer 1', NO_MATCH, 'answer 2']
    assert len(made) == 2, 'however often the sentence is asked again'


def test_words_are_weighed_with_the_look() -> None:
    """At the look that is expected words count alone; a surer look lowers the odds."""
    for said in (0.05, 0.5, 0.9):
        assert weigh_doubt(said, EXPECTED_LOOK) == pytest.approx(said)
        surer = weigh_doubt(said, EXPECTED_LOOK + math.log(2) / LOOK_WEIGHT)
        assert surer / (1 - surer) == pytest.approx(said / (1 - said) / 2)
    assert weigh_doubt(0.0, -50.0) > 0.99
    assert weigh_doubt(1.0, 60.0) < 0.01


def test_who_looks_at_nothing_doubts(model: Virst) -> None:
    """The words are the same; the second fusion finds nothing like what is asked for."""
    doubt(model, False)
    language = model.language
    assert isinstance(language, NanoLanguageModel)
    first = FIRST_WORD + WORDS.index(NO_MATCH.split()[0])
    language.embedding.weight[first, 0] = 0.0
    query = make_query(model)
    prompted = query.prompt(make_frames(3), 'the car')
    near, far = (doubt_of(replace(prompted, grounding=(prompted.grounding[0], heat)))
                 for heat in (prompted.grounding[1] + 12, prompted.grounding[1] - 12))
    assert near < MOST_DOUBT < far
