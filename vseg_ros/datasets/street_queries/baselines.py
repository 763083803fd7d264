"""
What a method that does not read would answer: the same for every sentence of a clip.

Both know the true masks, so they show what the sentences alone are worth.
"""

from __future__ import annotations

import numpy as np

from vseg_ros.datasets.street_queries.facts import ClipFacts, ThingFacts
from vseg_ros.datasets.street_queries.nouns import ACTORS

_MOVING = 0.5  # metres a second


def largest_moving(clip: ClipFacts) -> frozenset[int]:
    """Return the moving thing that fills most of the picture over the clip; empty if none."""
    moving = [thing for thing in clip.things if float(thing.speed.mean()) > _MOVING]
    if not moving:
        return frozenset()
    return frozenset({max(moving, key=_filled).instance_id})


def random_instance(clip: ClipFacts, rng: np.random.Generator) -> frozenset[int]:
    """Return one of the vehicles, riders and people that can be asked for; empty if none."""
    ids = [thing.instance_id for thing in clip.things
           if thing.referable and thing.kind in ACTORS]
    return frozenset({int(rng.choice(ids))}) if ids else frozenset()


def _filled(thing: ThingFacts) -> tuple[float, int]:
    """Return the share of the picture that a thing fills, summed over the frames."""
    return float(thing.area.sum()), -thing.instance_id
