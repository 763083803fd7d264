"""
The nouns of the street and which things each may mean.

Truth has three levels, so that a sentence is never built on a doubt: `YES`, `MAYBE` (a van may
pass for a car) and `NO`. The level of several claims together is the lowest of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vseg_ros.datasets.street_queries.facts import ClipFacts, ThingFacts

Levels = NDArray[np.uint8]
NO, MAYBE, YES = 0, 1, 2

CARS = frozenset({'hatchback', 'saloon', 'estate', 'off-roader'})
VANS = frozenset({'van', 'people carrier'})
BUSES = frozenset({'bus', 'double-decker'})
TRUCKS = frozenset({'truck', 'box truck'})
VEHICLES = CARS | VANS | BUSES | TRUCKS | {'motorcycle'}
RIDERS = frozenset({'cyclist', 'motorcyclist'})
PEOPLE = frozenset({'pedestrian'})
ACTORS = VEHICLES | RIDERS | PEOPLE
_SIGNS = frozenset({'speed limit', 'no entry', 'warning triangle', 'blue disc', 'parking sign',
                    'direction sign', 'yellow sign', 'street sign'})


@dataclass(frozen=True)
class Noun:
    """
    A noun.

    Attributes:
        name: of the idea behind it.
        words: singular and plural of every way to say it.
        group: 'vehicle', 'rider', 'person', 'fixed' or 'thing': what can be said of it.
        kinds: kinds that it surely means.
        doubtful: kinds that it may mean.
        fine: whether it names a kind that only a well seen thing shows.

    """

    name: str
    words: tuple[tuple[str, str], ...]
    group: str
    kinds: frozenset[str]
    doubtful: frozenset[str] = frozenset()
    fine: bool = False

    def level(self, thing: ThingFacts) -> int:
        """Tell whether a thing is one."""
        if thing.kind in self.kinds:
            return MAYBE if self.fine and not thing.fine else YES
        if thing.kind in self.doubtful:
            return MAYBE
        if self.fine and not thing.fine and thing.kind in CARS | VANS:
            return MAYBE
        return NO


def _fine(kind: str, words: tuple[tuple[str, str], ...], *alike: str) -> Noun:
    """Make the noun of one kind of car."""
    return Noun(kind, words, 'vehicle', frozenset({kind}), frozenset(alike), fine=True)


NOUNS: tuple[Noun, ...] = (
    Noun('car', (('car', 'cars'), ('automobile', 'automobiles')), 'vehicle', CARS, VANS),
    Noun('van', (('van', 'vans'),), 'vehicle', frozenset({'van'}), frozenset({'people carrier'})),
    _fine('people carrier', (('people carrier', 'people carriers'), ('minivan', 'minivans')),
          'van'),
    _fine('hatchback', (('hatchback', 'hatchbacks'),), 'estate', 'off-roader'),
    _fine('saloon', (('saloon', 'saloons'), ('sedan', 'sedans'))),
    _fine('estate', (('estate', 'estates'), ('station wagon', 'station wagons')),
          'hatchback', 'off-roader', 'people carrier'),
    _fine('off-roader', (('off-roader', 'off-roaders'),), 'estate', 'hatchback',
          'people carrier'),
    Noun('bus', (('bus', 'buses'),), 'vehicle', BUSES),
    Noun('double-decker', (('double-decker', 'double-deckers'),
                           ('double-decker bus', 'double-decker buses')), 'vehicle',
         frozenset({'double-decker'})),
    Noun('truck', (('truck', 'trucks'), ('lorry', 'lorries')), 'vehicle', TRUCKS),
    Noun('motorcycle', (('motorcycle', 'motorcycles'), ('motorbike', 'motorbikes')), 'vehicle',
         frozenset({'motorcycle'})),
    Noun('vehicle', (('vehicle', 'vehicles'),), 'vehicle', VEHICLES, frozenset({'cyclist'})),
    Noun('cyclist', (('cyclist', 'cyclists'), ('bicyclist', 'bicyclists'),
                     ('person on a bike', 'people on bikes'),
                     ('bicycle rider', 'bicycle riders')), 'rider', frozenset({'cyclist'})),
    Noun('motorcyclist', (('motorcyclist', 'motorcyclists'),
                          ('motorcycle rider', 'motorcycle riders')), 'rider',
         frozenset({'motorcyclist'})),
    Noun('rider', (('rider', 'riders'),), 'rider', RIDERS),
    Noun('pedestrian', (('pedestrian', 'pedestrians'), ('walker', 'walkers'),
                        ('person on foot', 'people on foot')), 'person', PEOPLE),
    Noun('person', (('person', 'people'),), 'person', PEOPLE, RIDERS),
    Noun('traffic light', (('traffic light', 'traffic lights'),), 'fixed',
         frozenset({'traffic light'})),
    Noun('traffic sign', (('traffic sign', 'traffic signs'), ('road sign', 'road signs')),
         'fixed', _SIGNS),
    Noun('thing', (('thing', 'things'),), 'thing', ACTORS))


def noun_levels(clip: ClipFacts) -> Levels:
    """Return the level of every noun for every thing, uint8 [nouns, N]."""
    return np.array([[noun.level(thing) for thing in clip.things] for noun in NOUNS],
                    dtype=np.uint8).reshape(len(NOUNS), len(clip.things))
