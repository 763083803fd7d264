"""Every claim of the grammar about each thing of a clip, in one table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vseg_ros.datasets.street_queries.facts import ClipFacts
from vseg_ros.datasets.street_queries.nouns import MAYBE, NO, NOUNS, Levels, noun_levels
from vseg_ros.datasets.street_queries.predicates import (
    CLAUSES,
    COLORS,
    PLACES,
    color_levels,
    levels,
)

CLAIMS = len(NOUNS) + len(COLORS) + len(PLACES) + len(CLAUSES)
"""Number of claims: nouns, then colours, places and clauses."""


def claim_levels(clip: ClipFacts) -> tuple[NDArray[np.int64], Levels, Levels]:
    """
    Return the truth of every claim.

    Returns:
        instance ids, int64 [N]; levels of truth, uint8 [N, CLAIMS]; those of a place where there
        is no thing, uint8 [CLAIMS]: it is called by no noun, and the rest is in doubt.

    """
    predicates = [predicate for _, predicate in PLACES.values()]
    predicates += [predicate for *_, predicate in CLAUSES.values()]
    table = np.concatenate((noun_levels(clip), color_levels(clip), levels(clip, predicates)))
    nothing = np.full(CLAIMS, MAYBE, np.uint8)
    nothing[:len(NOUNS)] = NO
    ids = np.array([thing.instance_id for thing in clip.things], np.int64)
    return ids, np.ascontiguousarray(table.T), nothing
