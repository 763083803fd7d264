"""Words: split and put together again."""

from __future__ import annotations

from vseg_ros.datasets.street_queries.answers import answer_phrases
from vseg_ros.words import join_words, split_words


def test_signs_stand_for_themselves() -> None:
    assert split_words('The double-decker, coming  towards US!') == [
        'the', 'double', '-', 'decker', ',', 'coming', 'towards', 'us', '!']


def test_answers_come_out_as_they_were_written() -> None:
    for phrase in [*answer_phrases(), 'it is the red double-decker on the left, parked']:
        assert join_words(split_words(phrase)) == phrase.lower().strip()
