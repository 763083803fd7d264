"""The table of claims says of each thing what the predicates say one by one."""

from __future__ import annotations

from vseg_ros.datasets.street_queries.claims import CLAIMS, claim_levels
from vseg_ros.datasets.street_queries.nouns import MAYBE, NO, NOUNS, YES
from vseg_ros.datasets.street_queries.predicates import CLAUSES, COLORS, PLACES

NAMES = [*(noun.name for noun in NOUNS), *COLORS, *PLACES, *CLAUSES]


def test_rows_are_things_and_columns_claims(make_clip):
    clip = make_clip({'center': 0.3}, {'kind': 'van', 'color': 'white', 'center': 0.7,
                                       'motion': 'oncoming', 'speed': 8.0})
    ids, table, _ = claim_levels(clip)
    assert ids.tolist() == [thing.instance_id for thing in clip.things] == [1, 2]
    assert table.shape == (2, CLAIMS)
    assert len(NAMES) == CLAIMS
    first, second = (dict(zip(NAMES, row.tolist(), strict=True)) for row in table)
    assert (first['car'], first['red'], first['white'], first['parked']) == (YES, YES, NO, YES)
    assert (second['van'], second['car'], second['white'], second['parked']) == (
        YES, MAYBE, YES, NO)
    assert first['left'] == second['right'] == YES


def test_every_claim_is_that_of_its_predicate(street_facts):
    for clip in street_facts:
        _, table, _ = claim_levels(clip)
        for thing, row in zip(clip.things, table.tolist(), strict=True):
            said = dict(zip(NAMES, row, strict=True))
            for noun in NOUNS:
                assert said[noun.name] == noun.level(thing)
            for name, (*_, predicate) in {**PLACES, **CLAUSES}.items():
                assert said[name] == predicate(clip, thing)


def test_where_there_is_nothing_no_noun_holds_and_the_rest_is_open(make_clip):
    nothing = claim_levels(make_clip({}))[2].tolist()
    assert nothing[:len(NOUNS)] == [NO] * len(NOUNS)
    assert set(nothing[len(NOUNS):]) == {MAYBE}


def test_a_clip_without_things(make_clip):
    ids, table, _ = claim_levels(make_clip())
    assert len(ids) == 0
    assert table.shape == (0, CLAIMS)
