"""
What can be said of one thing among others of its noun: order, distance, size and time.

A rank needs a relation that says for two things whether one surely comes before the other. The
one at a place of the rank is found only if all before and all after it are beyond doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vseg_ros.datasets.street_queries.facts import Array, ClipFacts, ThingFacts
from vseg_ros.datasets.street_queries.nouns import NO, VEHICLES, YES
from vseg_ros.datasets.street_queries.predicates import Predicate, is_parked, is_towards_us

Bools = NDArray[np.bool_]
Relation = Callable[[ClipFacts], Bools]  # [N, N]: whether the first comes before the second
_GROUPS = ('vehicle', 'rider', 'person')


@dataclass(frozen=True)
class Rank:
    """
    A place in an order.

    Attributes:
        name: of it.
        kind: of its queries.
        groups: groups of nouns of which it can be said.
        relation: whether the first of two things surely comes before the second.
        backwards: whether to count from the other end.
        place: how many come before the one that is meant.
        least: fewest things that make the order worth asking for.
        among: what a thing must be beside its noun to be counted, None for nothing.
        all_seen: whether everything counted must be seen well.

    """

    name: str
    kind: str
    groups: tuple[str, ...]
    relation: Relation
    backwards: bool = False
    place: int = 0
    least: int = 2
    among: Predicate | None = None
    all_seen: bool = False

    def pick(self, clip: ClipFacts, before: Bools, members: NDArray[np.intp]) -> int | None:
        """
        Return the place in the clip of the thing that the rank means.

        Args:
            clip: what is known.
            before: bool [N, N], the relation.
            members: places in the clip of the things that are counted.

        Returns:
            the thing's place; None if there are too few things or there is a doubt.

        """
        if len(members) < self.least or (self.all_seen and not clip.referable[members].all()):
            return None
        among = before[np.ix_(members, members)]
        earlier, later = among.sum(axis=0), among.sum(axis=1)
        if self.backwards:
            earlier, later = later, earlier
        found = np.flatnonzero((earlier == self.place) & (earlier + later == len(members) - 1))
        return int(members[found[0]]) if len(found) == 1 else None


def _over_time(clip: ClipFacts, values: Callable[[ThingFacts], Array]) -> Array:
    """Lay values out in time, float64 [N, T], NaN where a thing is not seen."""
    table = np.full((len(clip.things), len(clip.times)), np.nan)
    for row, thing in zip(table, clip.things, strict=True):
        row[thing.frames] = values(thing)
    return table


def _always(clip: ClipFacts, values: Callable[[ThingFacts], Array],
            holds: Callable[[Array, Array], Bools]) -> Bools:
    """Tell for two things whether something holds in every frame that shows both, if half do."""
    table = _over_time(clip, values)
    seen = ~np.isnan(table)
    both = seen[:, None] & seen[None]
    frames = seen.sum(axis=1)
    enough = 2 * both.sum(axis=2) >= np.maximum(frames[:, None], frames[None])
    result: Bools = enough & (holds(table[:, None], table[None]) | ~both).all(axis=2)
    return result


def _each(clip: ClipFacts, value: Callable[[ThingFacts], float | None]) -> Array:
    """Return one value a thing, float64 [N], NaN for None."""
    values = [value(thing) for thing in clip.things]
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)


def _more_left(clip: ClipFacts) -> Bools:
    return _always(clip, lambda thing: thing.center, lambda a, b: a + 0.03 < b)


def _nearer(clip: ClipFacts) -> Bools:
    return _always(clip, lambda thing: thing.near_end, lambda a, b: 1.15 * a + 0.7 < b)


def _bigger(clip: ClipFacts) -> Bools:
    """Tell whether the first is bigger in the world and in the picture."""
    volume = _each(clip, lambda thing: float(np.prod(thing.size)))
    area = _each(clip, lambda thing: float(thing.area.mean()))
    result: Bools = ((volume[:, None] > 1.3 * volume[None])
                     & (area[:, None] > 1.2 * area[None]))
    return result


def _taller(clip: ClipFacts) -> Bools:
    height = _each(clip, lambda thing: thing.size[1])
    result: Bools = height[:, None] > 1.15 * height[None]
    return result


def _longer(clip: ClipFacts) -> Bools:
    length = _each(clip, lambda thing: thing.size[2])
    result: Bools = length[:, None] > 1.2 * length[None]
    return result


def _fills_more(clip: ClipFacts) -> Bools:
    return _always(clip, lambda thing: thing.area, lambda a, b: a > 1.25 * b)


def _appears_earlier(clip: ClipFacts) -> Bools:
    """Tell whether the first comes into view earlier, both large enough at once to be noticed."""
    first = _each(clip, lambda thing: float(thing.first)
                  if thing.area[:2].max() >= clip.floor else None)
    result: Bools = first[:, None] < first[None]
    return result


def _leaves_earlier(clip: ClipFacts) -> Bools:
    """Tell whether the first goes out of view earlier, both large enough until then."""
    last = _each(clip, lambda thing: float(thing.last)
                 if thing.area[-2:].max() >= clip.floor else None)
    result: Bools = last[:, None] < last[None]
    return result


def _sooner(moments: Array) -> Bools:
    """Tell whether the first of two moments, seconds from now, comes well before the second."""
    result: Bools = 1.2 * moments[:, None] + 0.4 < moments[None]
    return result


def _meets_earlier(clip: ClipFacts) -> Bools:
    return _sooner(_each(clip, lambda thing: _arrival(clip, thing)))


def _arrival(clip: ClipFacts, thing: ThingFacts) -> float | None:
    """Return the seconds until a thing and the camera meet, None if unknown."""
    closing = thing.closing
    if closing is None or closing < 0.5 or thing.last != len(clip.times) - 1:
        return None
    return float(thing.near_end[-1]) / closing


def _crosses_earlier(clip: ClipFacts) -> Bools:
    return _sooner(_each(clip, lambda thing: _to_crossing(clip, thing)))


def _to_crossing(clip: ClipFacts, thing: ThingFacts) -> float | None:
    """Return the seconds until a thing reaches the crossing ahead, None if it will not."""
    along, place = clip.along(thing), clip.crossing
    if along is None or place is None or thing.last != len(clip.times) - 1:
        return None
    way = place - float(thing.distance[-1])
    return way / along if abs(along) > 1.0 and abs(way) > 3.0 and way / along > 0.0 else None


def _drives_to_crossing(clip: ClipFacts, thing: ThingFacts) -> int:
    """Tell whether it drives towards the crossing."""
    drives = bool({'oncoming', 'same direction'} & set(thing.motions))
    return YES if drives and _to_crossing(clip, thing) is not None else NO


def _passes_next(clip: ClipFacts, thing: ThingFacts) -> int:
    """Tell whether it is parked ahead while we drive."""
    driving = clip.camera_speed is not None and clip.camera_speed > 1.0
    return min(is_parked(clip, thing), YES if driving and thing.kind in VEHICLES else NO)


def _ordered(end: str, backwards: bool) -> tuple[Rank, ...]:
    """Make the ranks that count from one side of the picture."""
    names = (f'{end}most', f'second from the {end}', f'third from the {end}')
    return tuple(Rank(name, 'order', _GROUPS, _more_left, backwards, place, least=place + 2,
                      all_seen=place > 0) for place, name in enumerate(names))


RANKS: tuple[Rank, ...] = (
    *_ordered('left', False), *_ordered('right', True),
    Rank('nearest', 'distance', _GROUPS, _nearer),
    Rank('second nearest', 'distance', _GROUPS, _nearer, place=1, least=3),
    Rank('farthest', 'distance', _GROUPS, _nearer, backwards=True, all_seen=True),
    Rank('biggest', 'size', ('vehicle',), _bigger),
    Rank('smallest', 'size', ('vehicle',), _bigger, backwards=True, all_seen=True),
    Rank('tallest', 'size', ('vehicle',), _taller),
    Rank('longest', 'size', ('vehicle',), _longer),
    Rank('fills most', 'size', _GROUPS, _fills_more),
    Rank('appears first', 'event', _GROUPS, _appears_earlier),
    Rank('appears last', 'event', _GROUPS, _appears_earlier, backwards=True),
    Rank('leaves first', 'event', _GROUPS, _leaves_earlier),
    Rank('leaves last', 'event', _GROUPS, _leaves_earlier, backwards=True),
    Rank('meets us first', 'reasoning', (*_GROUPS, 'thing'), _meets_earlier,
         among=is_towards_us),
    Rank('meets us last', 'reasoning', ('vehicle', 'rider'), _meets_earlier, backwards=True,
         among=is_towards_us),
    Rank('crossing first', 'reasoning', ('vehicle', 'rider', 'thing'), _crosses_earlier,
         among=_drives_to_crossing),
    Rank('passed next', 'reasoning', ('vehicle',), _nearer, among=_passes_next))


def relations(clip: ClipFacts, ranks: Sequence[Rank] = RANKS) -> dict[Relation, Bools]:
    """Work out every relation of some ranks once, bool [N, N] each; NaN never compares."""
    with np.errstate(invalid='ignore'):
        return {relation: relation(clip) for relation in {rank.relation for rank in ranks}}
