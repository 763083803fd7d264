"""All words that the grammar can say."""

from __future__ import annotations

import re
from functools import lru_cache

from vseg_ros.datasets.street_queries.answers import answer_phrases
from vseg_ros.datasets.street_queries.grammar import AN, PLURALS, SPLITS
from vseg_ros.datasets.street_queries.nouns import NOUNS
from vseg_ros.datasets.street_queries.predicates import COLORS
from vseg_ros.words import split_words

__all__ = ['split_words', 'vocabulary']

_SLOT = re.compile(r'\{\w+\}')


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """Return every word of the sentences and answers of both splits, in alphabetical order."""
    texts = [_SLOT.sub(' ', phrase) for patterns in SPLITS.values()
             for phrase in (*patterns.phrases(), *(many for _, many in PLURALS))]
    texts += [word for noun in NOUNS for pair in noun.words for word in pair]
    texts += [AN, *COLORS, *answer_phrases()]
    return tuple(sorted({word for text in texts for word in split_words(text)}))
