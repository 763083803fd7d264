"""Draws the sentences that a clip is asked about."""

from __future__ import annotations

from collections import Counter

import numpy as np

from vseg_ros.datasets.street_queries.answers import NO_MATCH, describe_thing
from vseg_ros.datasets.street_queries.candidates import Candidate, matching, missing
from vseg_ros.datasets.street_queries.facts import ClipFacts
from vseg_ros.datasets.street_queries.grammar import KINDS, SPLITS, Split, StreetQuery, say

_AGAIN = 0.25  # how much less a thing is asked for each time it has been
_SAME = 0.05  # how much less the same is said of it


def draw_queries(clip: ClipFacts, rng: np.random.Generator, split: Split, count: int,
                 negative_share: float = 0.2) -> list[StreetQuery]:
    """
    Draw sentences about a clip, no two with the same meaning.

    Kinds are drawn alike as far as the clip has them, within a kind rather meanings for which
    another thing of the noun is in view, and things that have not been asked for yet.

    Args:
        clip: what is known of the clip.
        rng: source of the draw; the same state gives the same sentences.
        split: whose templates to use.
        count: number of sentences, >= 0; there are fewer if the clip has fewer.
        negative_share: share of sentences that nothing matches, 0..1.

    Raises:
        ValueError: the split is unknown, or a number out of range.

    """
    if split not in SPLITS or count < 0 or not 0.0 <= negative_share <= 1.0:
        raise ValueError(f'split {split!r}, count {count}, negative share {negative_share}: '
                         "choose 'train' or 'test', 0 or more, and 0 to 1")
    negatives = int(rng.binomial(count, negative_share)) if count else 0
    drawn = _draw(matching(clip), count - negatives, rng)
    drawn += _draw(missing(clip), negatives, rng)
    order = rng.permutation(len(drawn))
    return [_query(clip, drawn[index], split, rng) for index in order]


def _draw(candidates: list[Candidate], count: int, rng: np.random.Generator) -> list[Candidate]:
    """Draw some of the candidates, kinds alike."""
    pools = {kind: [one for one in candidates if one.kind == kind] for kind in KINDS}
    asked: Counter[int] = Counter()
    said: Counter[tuple[int, str]] = Counter()
    drawn: list[Candidate] = []
    while len(drawn) < count:
        kinds = [kind for kind, pool in pools.items() if pool]
        if not kinds:
            break
        pool = pools[kinds[rng.integers(len(kinds))]]
        weights = np.array([one.weight * _AGAIN ** asked[one.thing] * _SAME ** said[_said(one)]
                            for one in pool])
        chosen = pool.pop(int(rng.choice(len(pool), p=weights / weights.sum())))
        drawn.append(chosen)
        said[_said(chosen)] += 1
        if chosen.thing >= 0:
            asked[chosen.thing] += 1
    return drawn


def _said(candidate: Candidate) -> tuple[int, str]:
    """Return a thing and the most telling part of what is said of it."""
    meaning = candidate.meaning
    part = meaning.rank or meaning.clause or meaning.place or meaning.color or meaning.noun.name
    return candidate.thing, part


def _query(clip: ClipFacts, candidate: Candidate, split: Split,
           rng: np.random.Generator) -> StreetQuery:
    """Put a candidate into words."""
    text = say(candidate.meaning, split, rng)
    if candidate.thing < 0:
        return StreetQuery(text, NO_MATCH, frozenset(), candidate.kind)
    thing = clip.things[candidate.thing]
    return StreetQuery(text, describe_thing(thing, clip.dark), frozenset({thing.instance_id}),
                       candidate.kind)
