"""Drawn sentences: true of one thing, or safely of none."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vseg_ros.datasets.street_queries import (
    KINDS,
    NO_MATCH,
    clip_facts,
    draw_queries,
    largest_moving,
    random_instance,
)
from vseg_ros.datasets.street_queries.candidates import matching, missing
from vseg_ros.datasets.street_queries.grammar import Meaning
from vseg_ros.datasets.street_queries.nouns import MAYBE, NO, YES
from vseg_ros.datasets.street_queries.predicates import (
    CLAUSES,
    COLORS,
    PLACES,
    color_levels,
)


def slow_level(clip, meaning, index, strict):
    """Return the level of a meaning without a rank for one thing, claim by claim."""
    thing = clip.things[index]
    found = [meaning.noun.level(thing)]
    if meaning.color:
        found.append(int(color_levels(clip, strict)[COLORS.index(meaning.color), index]))
    if meaning.place:
        found.append(PLACES[meaning.place][1](clip, thing))
    if meaning.clause:
        found.append(CLAUSES[meaning.clause][2](clip, thing))
    return NO if NO in found else MAYBE if MAYBE in found else YES


def test_matching_is_true_of_one_alone(street_facts):
    for clip in street_facts:
        pool = np.flatnonzero(clip.visible).tolist()
        for one in [one for one in matching(clip) if not one.meaning.rank][::5]:
            found = {index: slow_level(clip, one.meaning, index, False) for index in pool}
            assert found.pop(one.thing) == YES
            assert set(found.values()) <= {NO}
            assert clip.referable[one.thing]


def test_missing_is_false_of_everything(street_facts):
    for clip in street_facts:
        for one in missing(clip)[::31]:
            assert {slow_level(clip, one.meaning, index, True)
                    for index in range(len(clip.things))} == {NO}
            there = any(one.meaning.noun.level(thing) == YES for thing in clip.things)
            assert there == (one.kind == 'hard negative')


def test_a_doubtful_distractor_makes_a_sentence_unusable(make_clip):
    def side_queries(center):
        clip = make_clip({'center': 0.2}, {'center': center})
        return [one for one in matching(clip) if one.meaning.place == 'left'
                and one.meaning.noun.name == 'car']
    assert side_queries(0.8)
    assert not side_queries(0.45)
    assert not side_queries(0.3)


def test_a_doubtful_noun_makes_a_rank_unusable(make_clip):
    def leftmost(kind):
        clip = make_clip({'center': 0.3}, {'center': 0.7}, {'center': 0.1, 'kind': kind})
        return [one.thing for one in matching(clip) if one.meaning.rank == 'leftmost'
                and one.meaning.noun.name == 'car' and not one.meaning.color]
    assert leftmost('van') == []
    assert leftmost('bus') == [0]
    assert leftmost('saloon') == [2]


def test_a_small_thing_counts_against_negatives_and_a_tiny_one_not_against_matches(make_clip):
    clip = make_clip({'color': 'red'}, {'color': 'blue', 'area': 0.0002})
    texts = {(one.meaning.noun.name, one.meaning.color) for one in missing(clip)
             if not one.meaning.place and not one.meaning.clause}
    assert ('car', 'blue') not in texts
    assert ('car', 'yellow') in texts
    assert any(one.meaning.noun.name == 'car' and one.meaning == Meaning(one.meaning.noun)
               for one in matching(clip))


def test_drawing_repeats_itself_and_keeps_to_the_share(street_facts):
    kinds = Counter()
    for seed, clip in enumerate(street_facts):
        for split in ('train', 'test'):
            first = draw_queries(clip, np.random.default_rng(seed), split, 40, 0.25)
            assert first == draw_queries(clip, np.random.default_rng(seed), split, 40, 0.25)
            kinds.update(query.kind for query in first)
            for query in first:
                assert query.kind in KINDS
                assert (query.answer == NO_MATCH) == (not query.instances)
                assert (not query.instances) == query.kind.endswith('negative')
                assert len(query.instances) <= 1
    assert len(kinds) == len(KINDS)
    negative = kinds['negative'] + kinds['hard negative']
    assert 0.15 < negative / sum(kinds.values()) < 0.4


def test_shares_at_their_ends(street_facts):
    clip, rng = street_facts[0], np.random.default_rng(3)
    assert all(query.instances for query in draw_queries(clip, rng, 'train', 9, 0.0))
    assert not any(query.instances for query in draw_queries(clip, rng, 'train', 9, 1.0))
    assert draw_queries(clip, rng, 'test', 0) == []


def test_answers_name_what_is_meant(make_clip):
    clip = make_clip({'motion': 'oncoming', 'speed': 8.0})
    answers = {query.answer for query in draw_queries(
        clip, np.random.default_rng(0), 'train', 5, 0.0)}
    assert answers == {'it is the red hatchback on the left, coming towards us'}


def test_in_the_dark_no_colour_is_named(street_clips):
    clip = street_clips[2]
    facts = clip_facts([frame.attributes for frame in clip], [0.0, 0.3, 0.6, 0.9], (180, 240),
                       dark=True)
    queries = draw_queries(facts, np.random.default_rng(0), 'train', 60)
    assert len(queries) > 20
    assert not any(color in f'{query.text} {query.answer}'.split()
                   for query in queries if query.instances for color in COLORS)


def test_an_empty_street_has_only_negatives():
    clip = clip_facts([(), ()], [0.0, 1.0], (180, 240))
    queries = draw_queries(clip, np.random.default_rng(0), 'train', 20)
    assert {query.kind for query in queries} <= {'negative'}
    assert largest_moving(clip) == frozenset()
    assert random_instance(clip, np.random.default_rng(0)) == frozenset()


@pytest.mark.parametrize('wrong', [{'split': 'valid'}, {'count': -1}, {'negative_share': 1.1}])
def test_wrong_arguments(make_clip, wrong):
    known = {'split': 'train', 'count': 3, **wrong}
    with pytest.raises(ValueError, match='choose'):
        draw_queries(make_clip({}), np.random.default_rng(0), **known)
