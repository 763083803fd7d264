"""
What the model should say: one plain sentence that names what was found, always in one order.

'it is the red hatchback on the left, coming towards us': colour, kind, side in the last frame in
which it is seen, motion. Of people the colour is that of their coat and stands after the noun.
"""

from __future__ import annotations

from vseg_ros.datasets.street_queries.facts import ThingFacts
from vseg_ros.datasets.street_queries.nouns import CARS, NOUNS, PEOPLE, RIDERS, TRUCKS, VEHICLES
from vseg_ros.words import NO_MATCH

__all__ = ['NO_MATCH', 'answer_phrases', 'describe_thing']

_SIDES = {'left': 'on the left', 'ahead': 'straight ahead', 'right': 'on the right'}
_MOTIONS = {'parked': 'parked', 'stopped': 'standing still', 'standing': 'standing still',
            'same direction': 'going our way', 'oncoming': 'coming towards us',
            'crossing': 'crossing the road', 'walking': 'walking', 'fixed': ''}


def describe_thing(thing: ThingFacts, dark: bool = False) -> str:
    """Say what was found; in the dark without its colour."""
    name = _name(thing)
    if not dark and thing.kind in PEOPLE | RIDERS:
        name = f'{name} in {thing.color}'
    elif not dark and thing.kind in VEHICLES - TRUCKS:
        name = f'{thing.color} {name}'
    motion = _MOTIONS[thing.motion]
    return f'it is the {name} {_SIDES[thing.side]}{", " + motion if motion else ""}'


def _name(thing: ThingFacts) -> str:
    """Name the kind as far as it can be seen."""
    if thing.kind in CARS and not thing.fine:
        return 'car'
    if thing.kind in TRUCKS:
        return 'truck'
    if thing.kind in VEHICLES | RIDERS | PEOPLE:
        return thing.kind
    return 'traffic light' if thing.kind == 'traffic light' else 'traffic sign'


def answer_phrases() -> tuple[str, ...]:
    """Return everything that answers are put together from."""
    names = {kind for noun in NOUNS for kind in noun.kinds}
    return (NO_MATCH, 'it is the car in, traffic sign', *_SIDES.values(), *_MOTIONS.values(),
            *sorted(names))
