"""
What a sentence means, and the sentences that mean it.

A `Meaning` is a noun with what is said of it. `templates` lists every surface form of a meaning
in a split, with the slots `{noun}`, `{nouns}` and `{color}` still open; `say` picks one and fills
it in. The templates of the two splits have none in common, while their words are the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from vseg_ros.datasets.street_queries.answers import NO_MATCH
from vseg_ros.datasets.street_queries.heldout_patterns import TEST
from vseg_ros.datasets.street_queries.nouns import NOUNS, Noun
from vseg_ros.datasets.street_queries.patterns import Patterns
from vseg_ros.datasets.street_queries.predicates import CLAUSES, PLACES
from vseg_ros.datasets.street_queries.ranks import RANKS
from vseg_ros.datasets.street_queries.training_patterns import TRAIN

PLURALS = (('a {color} coat', '{color} coats'), ('the {color} jacket', '{color} jackets'),
           ('who is', 'who are'))
"""What changes in a head, beside its noun, where several are spoken of."""
AN = 'an'
"""What 'a' becomes before a vowel."""
_BEFORE_VOWEL = re.compile(r'\ba(?= [aeiou])')
_Choice = TypeVar('_Choice')
Split = Literal['train', 'test']
SPLITS: dict[str, Patterns] = {'train': TRAIN, 'test': TEST}
KINDS = ('class', 'colour', 'side', 'order', 'distance', 'size', 'motion', 'event', 'reasoning',
         'negative', 'hard negative')
"""Kinds of queries; of several things said in one sentence, the later one names the kind."""
_GENERIC: dict[str, tuple[str, ...]] = {  # of which nouns alone something is worth asking
    'many seats': ('vehicle', 'thing'), 'carries goods': ('vehicle', 'thing'),
    'pedals': ('rider', 'thing')}
_RANKS = {rank.name: rank for rank in RANKS}

__all__ = ['KINDS', 'NO_MATCH', 'PLURALS', 'SPLITS', 'Meaning', 'Split', 'StreetQuery', 'say',
           'templates']


@dataclass(frozen=True)
class StreetQuery:
    """
    A sentence about a clip, and what is right to answer.

    Attributes:
        text: the sentence, in lower case, without a mark at its end.
        answer: what the model should say.
        instances: ids of the things that it means: one, or none if nothing matches.
        kind: one of `KINDS`.

    """

    text: str
    answer: str
    instances: frozenset[int]
    kind: str


@dataclass(frozen=True)
class Meaning:
    """
    A noun and what is said of it; '' where nothing is.

    Attributes:
        noun: the noun.
        color: its colour.
        place: a name of `PLACES`.
        clause: a name of `CLAUSES`.
        rank: a name of a rank; without a place and a clause.

    """

    noun: Noun
    color: str = ''
    place: str = ''
    clause: str = ''
    rank: str = ''

    @property
    def kind(self) -> str:
        """Kind of a query that something matches."""
        if self.rank:
            return _RANKS[self.rank].kind
        if self.clause:
            return CLAUSES[self.clause][0]
        if self.place:
            return PLACES[self.place][0]
        return 'colour' if self.color else 'class'

    @property
    def sensible(self) -> bool:
        """Tell whether somebody might say this."""
        group, said = self.noun.group, self.clause or self.rank
        if group == 'fixed':
            return not (self.color or said)
        if group == 'thing' and (self.color or self.place or not said):
            return False
        if self.rank:
            rank = _RANKS[self.rank]
            plain = not (self.place or self.clause)
            return plain and group in rank.groups and (
                not self.color or rank.kind in ('order', 'distance'))
        if self.clause:
            kind, groups, _ = CLAUSES[self.clause]
            if kind == 'event' and self.place in ('near', 'far'):
                return False
            return (group in groups and not (kind == 'reasoning' and (self.color or self.place))
                    and self.noun.name in _GENERIC.get(self.clause, (self.noun.name,)))
        return True


def templates(meaning: Meaning, split: Split) -> tuple[str, ...]:
    """Return every surface form of a meaning, its slots `{noun}`, `{nouns}`, `{color}` open."""
    patterns = SPLITS[split]
    found = [request.replace('{ref}', _join(reference, head))
             for reference in _references(meaning, patterns)
             for head in _heads(meaning, patterns)
             for request in patterns.fitting_requests(reference)]
    return tuple(dict.fromkeys(found))


def say(meaning: Meaning, split: Split, rng: np.random.Generator) -> str:
    """Say what is meant in one of the split's ways; half of the time without a request."""
    patterns = SPLITS[split]
    reference = _one(_references(meaning, patterns), rng)
    requests = patterns.fitting_requests(reference)
    request = _one(requests, rng) if rng.random() < 0.5 else requests[0]
    text = request.replace('{ref}', _join(reference, _one(_heads(meaning, patterns), rng)))
    noun, nouns = _one(meaning.noun.words, rng)
    text = text.replace('{nouns}', nouns).replace('{noun}', noun).replace('{color}', meaning.color)
    return _BEFORE_VOWEL.sub(AN, text)


def _one(choices: tuple[_Choice, ...], rng: np.random.Generator) -> _Choice:
    """Draw one of some choices."""
    return choices[int(rng.integers(len(choices)))]


def _references(meaning: Meaning, patterns: Patterns) -> tuple[str, ...]:
    """Return the patterns of `{head}` that fit a meaning."""
    return patterns.references(patterns.ranks if meaning.rank else patterns.clauses,
                               meaning.rank or meaning.clause, meaning.noun.group, meaning.place)


def _heads(meaning: Meaning, patterns: Patterns) -> tuple[str, ...]:
    """Return the ways to say noun and colour that fit a meaning."""
    alone = not (meaning.place or meaning.clause or meaning.rank)
    return patterns.heads(meaning.noun.group, bool(meaning.color), alone)


def _join(reference: str, head: str) -> str:
    """Put noun and colour into a reference, in the plural where it asks for that."""
    heads = head.replace('{noun}', '{nouns}')
    for one, many in PLURALS:
        heads = heads.replace(one, many)
    return reference.replace('{heads}', heads).replace('{head}', head)


def all_meanings() -> tuple[Meaning, ...]:
    """Return every sensible meaning but for its colours: of those, one stands for all."""
    meanings = [Meaning(noun, color, place, clause) for noun in NOUNS for color in ('', 'red')
                for place in ('', *PLACES) for clause in ('', *CLAUSES)]
    meanings += [Meaning(noun, color, rank=rank.name) for noun in NOUNS for color in ('', 'red')
                 for rank in RANKS]
    return tuple(meaning for meaning in meanings if meaning.sensible)
