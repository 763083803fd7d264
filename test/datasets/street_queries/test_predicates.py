"""Levels of truth of single things, told by hand."""

from __future__ import annotations

import pytest

from vseg_ros.datasets.street_queries.nouns import MAYBE, NO, NOUNS, YES
from vseg_ros.datasets.street_queries.predicates import (
    CLAUSES,
    COLORS,
    PLACES,
    color_levels,
)

DRIVING = {'motion': 'same direction', 'speed': 8.0}
PERSON = {'label': 10, 'kind': 'pedestrian', 'size': (0.5, 1.7, 0.3), 'motion': 'walking',
          'speed': 1.3}


def level(name, clip):
    predicate = (PLACES[name] if name in PLACES else CLAUSES[name])[-1]
    return predicate(clip, clip.things[0])


@pytest.mark.parametrize(('name', 'change', 'wanted'), [
    ('left', {'center': 0.3}, YES), ('left', {'center': [0.3, 0.3, 0.3, 0.5]}, MAYBE),
    ('left', {'center': 0.44}, MAYBE), ('left', {'center': 0.5}, NO),
    ('right', {'center': 0.7}, YES), ('right', {'center': 0.56}, MAYBE),
    ('right', {'center': 0.3}, NO), ('ahead', {'center': 0.5}, YES),
    ('ahead', {'center': 0.38}, MAYBE), ('ahead', {'center': 0.2}, NO),
    ('near', {'distance': 9.0}, YES), ('near', {'distance': 15.0}, MAYBE),
    ('near', {'distance': 30.0}, NO), ('far', {'distance': 40.0}, YES),
    ('far', {'distance': 28.0}, MAYBE), ('far', {'distance': 12.0}, NO),
    ('parked', {}, YES), ('parked', {'motion': 'stopped'}, MAYBE), ('parked', DRIVING, NO),
    ('still', {'motion': 'stopped'}, YES), ('still', {'speed': [0.0, 0.0, 3.0, 3.0]}, MAYBE),
    ('still', DRIVING, NO), ('moving', DRIVING, YES), ('moving', {}, NO),
    ('oncoming', {'motion': 'oncoming', 'speed': 8.0}, YES), ('oncoming', DRIVING, NO),
    ('oncoming', {**PERSON, 'distance': [20.0, 19.3, 18.6, 17.9]}, YES),
    ('oncoming', {**PERSON, 'distance': [20.0, 20.7, 21.4, 22.1]}, NO),
    ('same way', {**PERSON, 'distance': [20.0, 20.7, 21.4, 22.1]}, YES),
    ('same way', DRIVING, YES), ('same way', {'motion': 'stopped'}, MAYBE),
    ('crossing', {**PERSON, 'motion': 'crossing'}, YES), ('crossing', PERSON, NO),
    ('crossing', {**PERSON, 'motion': ['walking', 'crossing', 'crossing', 'crossing']}, MAYBE),
    ('to the left', {**PERSON, 'motion': 'crossing', 'lateral_speed': -1.3}, YES),
    ('to the right', {**PERSON, 'motion': 'crossing', 'lateral_speed': -1.3}, NO),
    ('overtaken', {**DRIVING, 'distance': [20.0, 18.0, 16.0, 14.0]}, YES),
    ('overtaken', {**DRIVING, 'lateral': 0.0, 'distance': [20.0, 18.0, 16.0, 14.0]}, MAYBE),
    ('overtaken', {**DRIVING, 'distance': [14.0, 16.0, 18.0, 20.0]}, NO),
    ('pulls away', {**DRIVING, 'distance': [14.0, 16.0, 18.0, 20.0]}, YES),
    ('pulls away', DRIVING, MAYBE), ('comes nearer', {'distance': [20.0, 18.0, 16.0, 14.0]}, YES),
    ('brakes', {**DRIVING, 'speed': [9.0, 8.0, 6.0, 5.0]}, YES),
    ('brakes', {**DRIVING, 'speed': [9.0, 9.0, 9.0, 8.0]}, MAYBE), ('brakes', DRIVING, NO),
    ('speeds up', {**DRIVING, 'speed': [5.0, 6.0, 7.0, 9.0]}, YES),
    ('stops', {'motion': [*['same direction'] * 3, 'stopped'], 'speed': [5.0, 3.0, 1.0, 0.0]},
     YES), ('stops', {'motion': 'stopped'}, NO),
    ('enters', {'seen': [False, False, True, True]}, YES), ('enters', {}, NO),
    ('enters', {'area': [0.0001, 0.01, 0.01, 0.01]}, MAYBE),
    ('leaves', {'seen': [True, True, False, False]}, YES), ('leaves', {}, NO),
    ('in our way', {**PERSON, 'motion': 'crossing'}, YES),
    ('in our way', {**PERSON, 'motion': 'crossing', 'distance': 50.0}, MAYBE),
    ('followed', {**DRIVING, 'lateral': 0.3}, YES), ('followed', {**DRIVING, 'lateral': 4.0}, NO),
    ('driverless', {}, YES), ('many seats', {'kind': 'bus'}, YES),
    ('many seats', {'kind': 'van'}, MAYBE), ('carries goods', {'kind': 'truck'}, YES),
    ('carries goods', {}, NO), ('pedals', {'kind': 'cyclist'}, YES),
    ('may cross', {**PERSON, 'motion': 'standing', 'speed': 0.0}, YES), ('may cross', PERSON, NO),
])
def test_levels(make_clip, name, change, wanted):
    assert level(name, make_clip(change)) == wanted


def test_walking_direction_is_a_doubt_while_we_drive_fast(make_clip):
    sign = {'label': 7, 'kind': 'no entry', 'distance': [50.0, 46.0, 42.0, 38.0],
            'motion': 'fixed'}
    clip = make_clip({**PERSON, 'distance': [30.0, 25.4, 20.8, 16.2]}, sign, sign, sign)
    assert clip.camera_speed == pytest.approx(8.0)
    assert level('oncoming', clip) == MAYBE


def test_colours_are_doubtful_only_where_none_may_be(make_clip):
    clip = make_clip({'color': 'grey'}, {'color': 'red'}, {'kind': 'truck', 'color': 'grey'})
    white = COLORS.index('white')
    assert color_levels(clip)[white].tolist() == [NO, NO, MAYBE]
    assert color_levels(clip, strict=True)[white].tolist() == [MAYBE, NO, MAYBE]


def test_nouns(make_clip):
    clip = make_clip({'kind': 'saloon'}, {'kind': 'van'}, {'kind': 'cyclist'},
                     {'kind': 'hatchback', 'area': 0.002})
    nouns = {noun.name: [noun.level(thing) for thing in clip.things] for noun in NOUNS}
    assert nouns['car'] == [YES, MAYBE, NO, YES]
    assert nouns['vehicle'] == [YES, YES, MAYBE, YES]
    assert nouns['hatchback'] == [NO, NO, NO, MAYBE]
    assert nouns['saloon'] == [YES, NO, NO, MAYBE]
    assert nouns['thing'] == [YES] * 4
