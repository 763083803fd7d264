"""Words and answers."""

from __future__ import annotations

import numpy as np

from vseg_ros.datasets.street_queries import NO_MATCH, draw_queries, split_words, vocabulary


def test_split_words():
    assert split_words('The double-decker, on Our LEFT?') == [
        'the', 'double', '-', 'decker', ',', 'on', 'our', 'left', '?']
    assert split_words("what's_up  3rd\n") == ['what', "'", 's', '_', 'up', '3rd']
    assert split_words(' ') == []


def test_the_vocabulary_covers_every_sentence_and_answer(street_facts):
    known = set(vocabulary())
    assert list(vocabulary()) == sorted(known)
    assert set(split_words(NO_MATCH)) <= known
    for clip in street_facts:
        for split in ('train', 'test'):
            for query in draw_queries(clip, np.random.default_rng(0), split, 60):
                assert set(split_words(f'{query.text} {query.answer}')) <= known
