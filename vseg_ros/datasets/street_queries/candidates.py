"""
Every meaning that is true of exactly one thing of a clip, and those that nothing satisfies.

All combinations of noun, colour, place and clause are tried at once: their levels of truth are
laid out in one table, and the level of a combination is the lowest of its parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vseg_ros.datasets.street_queries.facts import ClipFacts
from vseg_ros.datasets.street_queries.grammar import Meaning
from vseg_ros.datasets.street_queries.nouns import MAYBE, NO, NOUNS, YES, Levels, noun_levels
from vseg_ros.datasets.street_queries.predicates import (
    CLAUSES,
    COLORS,
    PLACES,
    color_levels,
    levels,
)
from vseg_ros.datasets.street_queries.ranks import RANKS, relations

_EVENT = 0.3  # what does not happen is harder to see than what is not there
_COLORS, _PLACES, _CLAUSES = ('', *COLORS), ('', *PLACES), ('', *CLAUSES)


@dataclass(frozen=True)
class Candidate:
    """
    A meaning for a clip.

    Attributes:
        meaning: what is meant.
        thing: place in the clip of the one thing that it is true of; -1 for none.
        kind: of the query, one of `KINDS`.
        weight: how good it is to ask, > 0: more with a distractor, less with needless words.

    """

    meaning: Meaning
    thing: int
    kind: str
    weight: float


def matching(clip: ClipFacts) -> list[Candidate]:
    """Return every meaning that is surely true of one thing and surely of no other."""
    return [*_joined(clip), *_ranked(clip)]


def missing(clip: ClipFacts) -> list[Candidate]:
    """
    Return meanings that surely hold for nothing with a visible pixel.

    Their kind is 'negative' if nothing is of the noun, 'hard negative' if something that is well
    seen is, but what is said of it is wrong.
    """
    nouns, table = noun_levels(clip), _table(clip, strict=True)
    present = (nouns[:, clip.referable] == YES).any(axis=1)
    absent = (nouns == NO).all(axis=1)
    nothing = (table == NO).all(axis=-1) & _sensible() & _may_be_missing()
    found = []
    for noun, color, place, clause in np.argwhere(nothing).tolist():
        said = (color > 0) + (place > 0) + (clause > 0)
        meaning = _meaning(noun, color, place, clause)
        if absent[noun]:
            if said <= 1:
                found.append(Candidate(meaning, -1, 'negative', (1.0, 0.05)[said]))
        elif present[noun] and said:
            close = said == 2 and not all(nothing[part] for part in (
                (noun, color, 0, 0), (noun, 0, place, 0), (noun, 0, 0, clause)))
            weight = 1.0 if said == 1 else 0.1 if close else 0.02
            found.append(Candidate(meaning, -1, 'hard negative',
                                   weight * (_EVENT if meaning.kind == 'event' else 1.0)))
    return found


def _meaning(noun: int, color: int, place: int, clause: int) -> Meaning:
    """Return the meaning at a place of the table."""
    return Meaning(NOUNS[noun], _COLORS[color], _PLACES[place], _CLAUSES[clause])


@lru_cache(maxsize=1)
def _sensible() -> NDArray[np.bool_]:
    """Tell which combinations somebody might say, bool [nouns, colours, places, clauses]."""
    shape = (len(NOUNS), len(_COLORS), len(_PLACES), len(_CLAUSES))
    return np.array([_meaning(*index).sensible for index in np.ndindex(shape)],
                    dtype=np.bool_).reshape(shape)


@lru_cache(maxsize=1)
def _may_be_missing() -> NDArray[np.bool_]:
    """Tell which combinations are asked for where there is nothing: short, without reasoning."""
    plain = np.array([not name or CLAUSES[name][0] != 'reasoning' for name in _CLAUSES])
    said = np.minimum(np.indices((len(_COLORS), len(_PLACES), len(_CLAUSES))), 1).sum(axis=0)
    result: NDArray[np.bool_] = plain & (said <= 2)
    return result


def _with_nothing_said(table: Levels) -> Levels:
    """Put a row before the others that is true of everything."""
    return np.concatenate([np.full((1, table.shape[1]), YES, dtype=np.uint8), table])


def _table(clip: ClipFacts, strict: bool) -> Levels:
    """Return the level of every combination, [nouns, colours, places, clauses, N]."""
    colors = _with_nothing_said(color_levels(clip, strict))
    places = _with_nothing_said(levels(clip, [predicate for _, predicate in PLACES.values()]))
    clauses = _with_nothing_said(levels(clip, [predicate for *_, predicate in CLAUSES.values()]))
    nouns = noun_levels(clip)
    result: Levels = np.minimum(
        np.minimum(nouns[:, None], colors[None])[:, :, None, None],
        np.minimum(places[:, None], clauses[None])[None, None])
    return result


def _joined(clip: ClipFacts) -> list[Candidate]:
    """Return the meanings without a rank."""
    table = _table(clip, strict=False)[..., clip.visible]
    places = np.flatnonzero(clip.visible)
    if not len(places):
        return []
    single = ((table == YES).sum(axis=-1) == 1) & ~(table == MAYBE).any(axis=-1)
    meant = places[table.argmax(axis=-1)]
    wanted = np.argwhere(single & _sensible() & clip.referable[meant])
    alike = (noun_levels(clip)[:, clip.visible] >= MAYBE).sum(axis=1)
    found = []
    for noun, color, place, clause in wanted.tolist():
        shorter = [part for part in ((noun, 0, place, clause), (noun, color, 0, clause),
                                     (noun, color, place, 0))
                   if part != (noun, color, place, clause)]
        weight = (4.0 if alike[noun] > 1 else 1.0) * (
            0.2 if any(single[part] for part in shorter) else 1.0)
        meaning = _meaning(noun, color, place, clause)
        found.append(Candidate(meaning, int(meant[noun, color, place, clause]), meaning.kind,
                               weight))
    return found


def _ranked(clip: ClipFacts) -> list[Candidate]:
    """Return the meanings with a rank."""
    before = relations(clip)
    nouns = noun_levels(clip)
    colors = _with_nothing_said(color_levels(clip))
    everything = np.full(len(clip.things), YES, dtype=np.uint8)
    among = [everything if rank.among is None else levels(clip, [rank.among])[0]
             for rank in RANKS]
    found = []
    for index, noun in enumerate(NOUNS):
        for color, colored in zip(_COLORS, np.minimum(nouns[index], colors), strict=True):
            if (colored[clip.visible] == YES).sum() < 2:
                continue
            for rank, counted in zip(RANKS, among, strict=True):
                meaning = Meaning(noun, color, rank=rank.name)
                level = np.where(clip.visible, np.minimum(colored, counted), NO)
                if not meaning.sensible or (level == MAYBE).any():
                    continue
                thing = rank.pick(clip, before[rank.relation], np.flatnonzero(level == YES))
                if thing is not None and clip.referable[thing]:
                    found.append(Candidate(meaning, thing, rank.kind, 4.0))
    return found
