"""Places in an order, told by hand, and the relations against loops over the frames."""

from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.datasets.street_queries.nouns import NO
from vseg_ros.datasets.street_queries.ranks import RANKS, relations

BY_NAME = {rank.name: rank for rank in RANKS}
THREE = ({'center': 0.2, 'distance': 30.0}, {'center': 0.5, 'distance': 12.0},
         {'center': 0.8, 'distance': 20.0})
ONCOMING = {'motion': 'oncoming', 'speed': 8.0}


def pick(name, clip):
    rank = BY_NAME[name]
    members = [index for index, thing in enumerate(clip.things)
               if rank.among is None or rank.among(clip, thing) != NO]
    return rank.pick(clip, relations(clip)[rank.relation], np.array(members, dtype=np.intp))


@pytest.mark.parametrize(('name', 'wanted'), [
    ('leftmost', 0), ('rightmost', 2), ('second from the left', 1),
    ('second from the right', 1), ('third from the left', None), ('nearest', 1),
    ('second nearest', 2), ('farthest', 0), ('biggest', None), ('appears first', None)])
def test_three_cars(make_clip, name, wanted):
    assert pick(name, make_clip(*THREE)) == wanted


@pytest.mark.parametrize(('name', 'changes', 'wanted'), [
    ('leftmost', ({'center': 0.2}, {'center': 0.21}), None),
    ('leftmost', ({'center': [0.2, 0.2, 0.6, 0.6]}, {'center': 0.4}), None),
    ('nearest', ({'distance': 15.0}, {'distance': 16.0}), None),
    ('second nearest', ({'distance': 10.0}, {'distance': 11.5}, {'distance': 13.0}), None),
    ('farthest', ({'distance': 15.0}, {'distance': 40.0, 'area': 0.0005}), None),
    ('biggest', ({}, {'size': (2.5, 4.3, 10.0), 'area': 0.04}), 1),
    ('biggest', ({'area': 0.05}, {'size': (2.5, 4.3, 10.0), 'area': 0.01}), None),
    ('smallest', ({}, {'size': (2.5, 4.3, 10.0), 'area': 0.04}), 0),
    ('tallest', ({}, {'size': (2.5, 4.3, 10.0)}), 1),
    ('longest', ({}, {'size': (2.5, 4.3, 10.0)}), 1),
    ('fills most', ({'area': 0.02}, {}), 0),
    ('appears first', ({'seen': [False, True, True, True]}, {}), 1),
    ('appears last', ({'seen': [False, True, True, True]}, {}), 0),
    ('leaves first', ({'seen': [True, True, False, False]}, {}), 0),
    ('leaves last', ({'seen': [True, True, False, False]}, {}), 1),
    ('meets us first', ({**ONCOMING, 'distance': [40.0, 36.0, 32.0, 28.0]},
                        {**ONCOMING, 'distance': [70.0, 66.0, 62.0, 58.0]}, {}), 0),
    ('meets us last', ({**ONCOMING, 'distance': [40.0, 36.0, 32.0, 28.0]},
                       {**ONCOMING, 'distance': [70.0, 66.0, 62.0, 58.0]}, {}), 1),
    ('meets us first', ({**ONCOMING, 'seen': [True, True, True, False]},
                        {**ONCOMING, 'distance': [70.0, 66.0, 62.0, 58.0]}), None),
    ('crossing first', ({'label': 6, 'kind': 'traffic light', 'motion': 'fixed',
                         'distance': 30.0},
                        {**ONCOMING, 'distance': [60.0, 56.0, 52.0, 48.0]},
                        {'motion': 'same direction', 'speed': 8.0,
                         'distance': [10.0, 14.0, 18.0, 22.0]},
                        {**ONCOMING, 'distance': [24.0, 20.0, 16.0, 12.0]}), 2)])
def test_pairs(make_clip, name, changes, wanted):
    assert pick(name, make_clip(*changes)) == wanted


def test_passed_next_needs_a_moving_camera(make_clip):
    near, far = {'distance': [20.0, 17, 14, 11.0]}, {'distance': [30.0, 27, 24, 21.0]}
    sign = {'label': 7, 'kind': 'no entry', 'distance': [50.0, 47, 44, 41.0], 'motion': 'fixed'}
    assert pick('passed next', make_clip(far, near, sign)) == 1
    assert pick('passed next', make_clip({'distance': 20.0}, {'distance': 30.0})) is None


def test_relations_over_time_against_loops(street_facts):
    def slow(one, other, value, holds):
        frames = sorted(set(one.frames.tolist()) & set(other.frames.tolist()))
        if 2 * len(frames) < max(len(one.frames), len(other.frames)):
            return False
        return all(holds(value(one)[one.frames.tolist().index(frame)],
                         value(other)[other.frames.tolist().index(frame)]) for frame in frames)

    checks = {'leftmost': (lambda thing: thing.center, lambda a, b: a + 0.03 < b),
              'nearest': (lambda thing: np.maximum(0.5, thing.distance - thing.size[2] / 2),
                          lambda a, b: 1.15 * a + 0.7 < b),
              'fills most': (lambda thing: thing.area, lambda a, b: a > 1.25 * b)}
    for clip in street_facts:
        found = relations(clip)
        for name, (value, holds) in checks.items():
            wanted = [[slow(one, other, value, holds) for other in clip.things]
                      for one in clip.things]
            assert np.array_equal(found[BY_NAME[name].relation], wanted)
