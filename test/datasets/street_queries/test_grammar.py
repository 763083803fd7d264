"""The surface forms of the two splits."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vseg_ros.datasets.street_queries import split_words, vocabulary
from vseg_ros.datasets.street_queries.grammar import (
    SPLITS,
    Meaning,
    all_meanings,
    say,
    templates,
)
from vseg_ros.datasets.street_queries.nouns import NOUNS
from vseg_ros.datasets.street_queries.predicates import CLAUSES, PLACES
from vseg_ros.datasets.street_queries.ranks import RANKS

CAR = NOUNS[0]


@pytest.fixture(scope='module')
def forms():
    return {split: {text for meaning in all_meanings() for text in templates(meaning, split)}
            for split in SPLITS}


def words_of(texts):
    return {word for text in texts for word in split_words(re.sub(r'\{\w+\}', ' ', text))}


def test_no_template_is_shared(forms):
    assert len(forms['train']) > 1000
    assert len(forms['test']) > 1000
    assert not forms['train'] & forms['test']


def test_tests_use_the_words_of_training(forms):
    assert words_of(forms['test']) <= words_of(forms['train'])
    assert words_of(forms['train']) <= set(vocabulary())


def test_only_the_slots_stay_open(forms):
    for split in SPLITS:
        slots = {slot for text in forms[split] for slot in re.findall(r'\{(\w*)\}', text)}
        assert slots == {'noun', 'nouns', 'color'}
        assert all(text == text.lower() and text[-1].isalpha() | (text[-1] == '}')
                   for text in forms[split])


def test_everything_that_can_be_said_has_patterns():
    for patterns in SPLITS.values():
        bases = {re.sub(' of a (person|rider|thing)$', '', name) for name in patterns.clauses}
        assert bases == set(CLAUSES)
        assert set(patterns.places) == set(PLACES)
        ranks = {re.sub(' of a (person|thing)$', '', name) for name in patterns.ranks}
        assert ranks == {rank.name for rank in RANKS}


@pytest.mark.parametrize('split', list(SPLITS))
def test_what_is_said_fits_one_of_the_templates(split):
    rng = np.random.default_rng(0)
    for meaning in all_meanings()[::41]:
        text = re.sub(r'\ban\b', 'a', say(meaning, split, rng))
        fits = [re.sub(r'\\\{(\w+)\\\}', r'(.+)', re.escape(re.sub(r'\ban\b', 'a', template)))
                for template in templates(meaning, split)]
        assert any(re.fullmatch(fit, text) for fit in fits)


def test_an_stands_before_a_vowel():
    estate = next(noun for noun in NOUNS if noun.name == 'estate')
    rng = np.random.default_rng(0)
    said = [say(Meaning(estate), 'train', rng) for _ in range(200)]
    assert 'an estate' in said
    assert 'a station wagon' in said
    assert not any(re.search(r'\ba [aeiou]', text) for text in said)


def test_a_robot_may_be_told_without_an_article():
    assert '{color} {noun} on the left' in templates(Meaning(CAR, 'white', 'left'), 'train')
    assert 'show me a {noun} on the left' in templates(Meaning(CAR, '', 'left'), 'train')
    assert '{color} {noun} at the left hand side' in templates(Meaning(CAR, 'white', 'left'),
                                                               'test')


def test_plain_sentences():
    assert 'the {color} {noun} on the left' in templates(Meaning(CAR, 'white', 'left'), 'train')
    assert 'the {noun} nearest to us' in templates(Meaning(CAR, rank='nearest'), 'test')
    person = next(noun for noun in NOUNS if noun.name == 'person')
    assert 'of all {nouns} in {color} coats the one nearest to us' in templates(
        Meaning(person, 'red', rank='nearest'), 'train')


def test_questions_stand_alone(forms):
    for split in SPLITS:
        assert not any(re.search(r'(find|show me|where is|look at) (which|who|what)\b', text)
                       for text in forms[split])
