"""
What can be said of one thing beside its noun: colour, place, and what it does.

Every predicate gives a level of truth (`nouns.YES`, `MAYBE`, `NO`) over the whole clip: it holds
in every frame in which the thing is seen, or in none, and everything between is a doubt.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vseg_ros.datasets.street_queries.facts import ClipFacts, ThingFacts
from vseg_ros.datasets.street_queries.nouns import (
    BUSES,
    MAYBE,
    NO,
    PEOPLE,
    RIDERS,
    TRUCKS,
    VANS,
    VEHICLES,
    YES,
    Levels,
)

Predicate = Callable[[ClipFacts, ThingFacts], int]
COLORS = ('white', 'black', 'grey', 'blue', 'red', 'green', 'yellow', 'brown')
_ALIKE = tuple(frozenset(pair) for pair in (
    ('white', 'grey'), ('grey', 'black'), ('black', 'blue'), ('black', 'green'),
    ('black', 'brown'), ('brown', 'red'), ('brown', 'grey'), ('green', 'grey'), ('blue', 'grey'),
    ('yellow', 'brown'), ('yellow', 'white'), ('green', 'blue')))
_TRAFFIC = ('same direction', 'oncoming', 'stopped')


def color_levels(clip: ClipFacts, strict: bool = False) -> Levels:
    """
    Return the level of every colour for every thing, uint8 [colours, N].

    Args:
        clip: what is known.
        strict: whether colours that light can turn into each other are a doubt: so they are
            where nothing may have the colour, but not where one thing has it.

    """
    found = [[MAYBE if clip.dark else _color(color, thing, strict) for thing in clip.things]
             for color in COLORS]
    return np.array(found, dtype=np.uint8).reshape(len(COLORS), -1)


def _color(color: str, thing: ThingFacts, strict: bool) -> int:
    """Tell whether a thing has a colour."""
    if thing.kind in TRUCKS or thing.kind not in VEHICLES | RIDERS | PEOPLE:
        return MAYBE  # a truck's cab and cargo differ
    if thing.color == color:
        return YES
    return MAYBE if strict and frozenset({color, thing.color}) in _ALIKE else NO


def _between(values: NDArray[np.float64], yes: tuple[float, float],
             maybe: tuple[float, float]) -> int:
    """Tell whether all values lie in one range, or none even in a wider one."""
    if ((values >= yes[0]) & (values <= yes[1])).all():
        return YES
    return MAYBE if ((values >= maybe[0]) & (values <= maybe[1])).any() else NO


def _always(holds: NDArray[np.bool_], may: NDArray[np.bool_]) -> int:
    """Tell whether something holds in all frames, or may hold in none."""
    return YES if holds.all() else MAYBE if may.any() else NO


def _left(_: ClipFacts, thing: ThingFacts) -> int:
    return _between(thing.center, (0.0, 0.4), (0.0, 0.47))


def _right(_: ClipFacts, thing: ThingFacts) -> int:
    return _between(thing.center, (0.6, 1.0), (0.53, 1.0))


def _ahead(_: ClipFacts, thing: ThingFacts) -> int:
    return _between(thing.center, (0.41, 0.59), (0.35, 0.65))


def _near(_: ClipFacts, thing: ThingFacts) -> int:
    return _between(thing.near_end, (0.0, 11.0), (0.0, 18.0))


def _far(_: ClipFacts, thing: ThingFacts) -> int:
    return _between(thing.near_end, (32.0, np.inf), (22.0, np.inf))


def _is(thing: ThingFacts, *motions: str) -> NDArray[np.bool_]:
    """Tell in which frames a thing's motion is one of some."""
    return np.array([motion in motions for motion in thing.motions], dtype=np.bool_)


def is_parked(_: ClipFacts, thing: ThingFacts) -> int:
    """Tell whether it is parked; a car that waits in traffic may be."""
    return _always(_is(thing, 'parked'), _is(thing, 'parked', 'stopped'))


def _still(_: ClipFacts, thing: ThingFacts) -> int:
    return _always(thing.speed < 0.1, thing.speed < 0.8)


def _moving(_: ClipFacts, thing: ThingFacts) -> int:
    return _always(thing.speed > 0.8, thing.speed > 0.1)


def _traffic_oncoming(_: ClipFacts, thing: ThingFacts) -> int:
    return _always(_is(thing, 'oncoming'), _is(thing, 'oncoming'))


def _traffic_same_way(_: ClipFacts, thing: ThingFacts) -> int:
    return _always(_is(thing, 'same direction'), _is(thing, 'same direction', 'stopped'))


def _foot_direction(clip: ClipFacts, thing: ThingFacts, sign: int) -> int:
    """Tell whether someone walks along the street, away from us (1) or towards us (-1)."""
    if thing.kind not in PEOPLE or not (thing.speed > 0.1).any():
        return NO
    along = clip.along(thing)
    if along is None or not _is(thing, 'walking').all() or _hides_steps(clip):
        return MAYBE
    return YES if along * sign > 0.5 else NO if along * sign < -0.5 else MAYBE


def _hides_steps(clip: ClipFacts) -> bool:
    """Tell whether we drive too fast to see which way someone walks."""
    return clip.camera_speed is None or abs(clip.camera_speed) > 4.0


def _foot_towards(clip: ClipFacts, thing: ThingFacts) -> int:
    return _foot_direction(clip, thing, -1)


def _foot_away(clip: ClipFacts, thing: ThingFacts) -> int:
    return _foot_direction(clip, thing, 1)


def is_towards_us(clip: ClipFacts, thing: ThingFacts) -> int:
    """Tell whether it drives, rides or walks against our direction."""
    return (_foot_towards if thing.kind in PEOPLE else _traffic_oncoming)(clip, thing)


def _same_way(clip: ClipFacts, thing: ThingFacts) -> int:
    return (_foot_away if thing.kind in PEOPLE else _traffic_same_way)(clip, thing)


def _crossing(_: ClipFacts, thing: ThingFacts) -> int:
    return _always(_is(thing, 'crossing'), _is(thing, 'crossing'))


def _to_the_left(clip: ClipFacts, thing: ThingFacts) -> int:
    return min(_crossing(clip, thing), _always(thing.lateral_speed < -0.5,
                                               thing.lateral_speed < 0.0))


def _to_the_right(clip: ClipFacts, thing: ThingFacts) -> int:
    return min(_crossing(clip, thing), _always(thing.lateral_speed > 0.5,
                                               thing.lateral_speed > 0.0))


def _closing(thing: ThingFacts, sign: int, yes: float, maybe: float) -> int:
    """Tell whether a thing comes nearer (1) or moves off (-1), by metres a second."""
    if thing.closing is None:
        return MAYBE
    return YES if thing.closing * sign > yes else MAYBE if thing.closing * sign > maybe else NO


def _overtaken(clip: ClipFacts, thing: ThingFacts) -> int:
    """Tell whether we overtake it: it goes our way, beside our lane, and comes nearer."""
    beside = YES if (np.abs(thing.lateral) > 1.5).all() else MAYBE
    soon = YES if thing.distance[-1] < 25 else MAYBE
    return min(_traffic_same_way(clip, thing), _closing(thing, 1, 1.0, -0.3), beside, soon)


def _pulls_away(clip: ClipFacts, thing: ThingFacts) -> int:
    return min(_traffic_same_way(clip, thing), _closing(thing, -1, 1.0, -0.3))


def _comes_nearer(_: ClipFacts, thing: ThingFacts) -> int:
    return _closing(thing, 1, 1.0, -0.2)


def _changes_speed(thing: ThingFacts, sign: int) -> int:
    """Tell whether a vehicle clearly gains (1) or loses (-1) speed."""
    if not _is(thing, *_TRAFFIC).all():
        return NO
    change = float(thing.speed[-1] - thing.speed[0]) * sign
    return YES if change > 2.0 else MAYBE if change > 0.3 else NO


def _brakes(_: ClipFacts, thing: ThingFacts) -> int:
    return _changes_speed(thing, -1)


def _speeds_up(_: ClipFacts, thing: ThingFacts) -> int:
    return _changes_speed(thing, 1)


def _stops(_: ClipFacts, thing: ThingFacts) -> int:
    if not _is(thing, *_TRAFFIC).all() or thing.speed[-1] > 1.0:
        return NO
    return YES if thing.speed[0] > 1.0 and thing.speed[-1] < 0.3 else \
        MAYBE if thing.speed.max() > 0.1 else NO


def _enters(clip: ClipFacts, thing: ThingFacts) -> int:
    """Tell whether it comes into view in the clip, large enough at once to be noticed."""
    if thing.first == 0:
        return NO if thing.area[0] >= clip.floor else MAYBE
    return YES if thing.area[:2].max() >= clip.floor else MAYBE


def _leaves(clip: ClipFacts, thing: ThingFacts) -> int:
    if thing.last == len(clip.times) - 1:
        return NO if thing.area[-1] >= clip.floor else MAYBE
    return YES if thing.area[-2:].max() >= clip.floor else MAYBE


def _in_our_way(clip: ClipFacts, thing: ThingFacts) -> int:
    """Tell whether someone crosses the road close before us."""
    crossing = _crossing(clip, thing)
    return min(crossing, YES if thing.distance.max() < 35 else MAYBE)


def _followed(clip: ClipFacts, thing: ThingFacts) -> int:
    """Tell whether it drives before us in our lane, with nothing between."""
    if thing.kind not in VEHICLES or not _is(thing, 'same direction', 'stopped').any():
        return NO
    if _next_in_lane(clip) is thing:
        return YES if _is(thing, 'same direction', 'stopped').all() else MAYBE
    return MAYBE if (np.abs(thing.lateral) < 2.2).any() and thing.distance.min() < 12 else NO


def _next_in_lane(clip: ClipFacts) -> ThingFacts | None:
    """Return the vehicle that surely drives right before us, None without one."""
    lane = [thing for thing in clip.things
            if thing.kind in VEHICLES and (np.abs(thing.lateral) < 1.2).all()
            and len(thing.frames) == len(clip.times) and thing.distance.max() < 40
            and _is(thing, 'same direction', 'stopped').all()]
    if not lane:
        return None
    first = min(lane, key=lambda thing: float(thing.distance[0]))
    return first if first.peak >= clip.floor else None


def _many_seats(_: ClipFacts, thing: ThingFacts) -> int:
    return YES if thing.kind in BUSES else MAYBE if thing.kind in VANS else NO


def _carries_goods(_: ClipFacts, thing: ThingFacts) -> int:
    return YES if thing.kind in TRUCKS else MAYBE if thing.kind in VANS else NO


def _pedals(_: ClipFacts, thing: ThingFacts) -> int:
    return YES if thing.kind == 'cyclist' else NO


def _may_cross(_: ClipFacts, thing: ThingFacts) -> int:
    """Tell whether someone stands at the road, and might step onto it."""
    return YES if _is(thing, 'standing').all() else MAYBE if _is(thing, 'standing').any() else NO


PLACES: dict[str, tuple[str, Predicate]] = {  # the kind of query, and the predicate
    'left': ('side', _left), 'right': ('side', _right), 'ahead': ('side', _ahead),
    'near': ('distance', _near), 'far': ('distance', _far)}
CLAUSES: dict[str, tuple[str, tuple[str, ...], Predicate]] = {  # with groups of nouns
    'parked': ('motion', ('vehicle',), is_parked),
    'still': ('motion', ('vehicle', 'rider', 'person'), _still),
    'moving': ('motion', ('vehicle', 'rider', 'person'), _moving),
    'oncoming': ('motion', ('vehicle', 'rider', 'person', 'thing'), is_towards_us),
    'same way': ('motion', ('vehicle', 'rider', 'person'), _same_way),
    'crossing': ('motion', ('person',), _crossing),
    'to the left': ('motion', ('person',), _to_the_left),
    'to the right': ('motion', ('person',), _to_the_right),
    'overtaken': ('event', ('vehicle', 'rider'), _overtaken),
    'pulls away': ('event', ('vehicle', 'rider', 'thing'), _pulls_away),
    'comes nearer': ('event', ('vehicle', 'rider', 'person'), _comes_nearer),
    'brakes': ('event', ('vehicle',), _brakes),
    'speeds up': ('event', ('vehicle',), _speeds_up),
    'stops': ('event', ('vehicle',), _stops),
    'enters': ('event', ('vehicle', 'rider', 'person'), _enters),
    'leaves': ('event', ('vehicle', 'rider', 'person'), _leaves),
    'in our way': ('reasoning', ('person', 'thing'), _in_our_way),
    'followed': ('reasoning', ('vehicle', 'thing'), _followed),
    'driverless': ('reasoning', ('vehicle',), is_parked),
    'many seats': ('reasoning', ('vehicle', 'thing'), _many_seats),
    'carries goods': ('reasoning', ('vehicle', 'thing'), _carries_goods),
    'pedals': ('reasoning', ('rider', 'thing'), _pedals),
    'may cross': ('reasoning', ('person',), _may_cross)}


def levels(clip: ClipFacts, predicates: list[Predicate]) -> Levels:
    """Return the level of every predicate for every thing, uint8 [predicates, N]."""
    return np.array([[predicate(clip, thing) for thing in clip.things]
                     for predicate in predicates], dtype=np.uint8).reshape(len(predicates), -1)
