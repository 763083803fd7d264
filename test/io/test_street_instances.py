"""Synthetic street: instances and their attributes over time."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from vseg_ros.io.street import StreetFrame, SyntheticStreet
from vseg_ros.labels import DRIVING

SIZE = (180, 240)
SEEDS = (3, 14)
MOTIONS = {'parked', 'stopped', 'same direction', 'oncoming', 'crossing', 'walking', 'standing',
           'fixed'}


@pytest.fixture(scope='module')
def videos() -> list[list[StreetFrame]]:
    return [list(SyntheticStreet(seed, frames=14, size=SIZE)) for seed in SEEDS]


def test_attributes_agree_with_the_masks(videos):
    for item in (frame for video in videos for frame in video[::4]):
        ids = set(np.unique(item.instances).tolist()) - {0}
        assert ids == {one.instance_id for one in item.attributes}
        for one in item.attributes:
            mask = item.instances == one.instance_id
            rows, columns = np.nonzero(mask)
            assert one.area == mask.sum()
            assert one.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert set(item.labels[mask].tolist()) == {one.label}
            assert one.motion in MOTIONS
            middle = (one.box[0] + one.box[2]) / 2 / SIZE[1]
            assert one.side == ('left' if middle < 0.4 else 'right' if middle > 0.6 else 'ahead')


def test_every_thing_has_an_instance_and_stuff_has_none(videos):
    things = [DRIVING.names.index(name) for name in (
        'pole', 'traffic light', 'traffic sign', 'person', 'rider', 'car', 'truck_bus',
        'motorcycle')]
    for item in (frame for video in videos for frame in video[::4]):
        assert np.array_equal(np.isin(item.labels, things), item.instances > 0)


def test_what_never_changes_about_an_instance(videos):
    for video in videos:
        facts = defaultdict(set)
        for item in video:
            for one in item.attributes:
                facts[one.instance_id].add((one.label, one.kind, one.color, one.size,
                                            one.appeared_at))
        assert len(facts) > 5
        assert all(len(known) == 1 for known in facts.values())


def test_nothing_is_seen_before_it_appeared(videos):
    late = 0
    for video in videos:
        for index, item in enumerate(video):
            assert all(0 <= one.appeared_at <= index for one in item.attributes)
        late += sum(one.appeared_at > 0 for one in video[-1].attributes)
    assert late > 0


def test_vehicles_move_smoothly(videos):
    vehicles = {DRIVING.names.index(name) for name in ('car', 'truck_bus')}
    overlaps = []
    for video in videos:
        for before, after in pairwise(video):
            sizes = {one.instance_id: one.area for one in after.attributes}
            for one in before.attributes:
                if one.label in vehicles and min(one.area, sizes.get(one.instance_id, 0)) > 200:
                    first = before.instances == one.instance_id
                    second = after.instances == one.instance_id
                    overlaps.append((first & second).sum() / (first | second).sum())
    assert len(overlaps) > 30
    assert np.median(overlaps) > 0.8
    assert np.mean(np.array(overlaps) > 0.5) > 0.95


def test_the_camera_drives_smoothly(videos):
    for video in videos:
        distances = [{one.instance_id: one.distance for one in item.attributes
                      if one.motion in ('parked', 'fixed')} for item in video]
        assert distances[0].keys() & distances[-1].keys()
        for first, second, third in zip(distances[:-2], distances[1:-1], distances[2:],
                                        strict=True):
            for instance in first.keys() & second.keys() & third.keys():
                assert abs(first[instance] - 2 * second[instance] + third[instance]) < 0.06


def test_boxes_do_not_jump(videos):
    jumps = []
    for video in videos:
        boxes = [{one.instance_id: np.array(one.box, float) for one in item.attributes}
                 for item in video]
        for first, second, third in zip(boxes[:-2], boxes[1:-1], boxes[2:], strict=True):
            for instance in first.keys() & second.keys() & third.keys():
                jump = first[instance] - 2 * second[instance] + third[instance]
                jumps.append(np.abs(jump).mean())
    assert len(jumps) > 100
    assert np.median(jumps) < 1.0
    assert np.mean(np.array(jumps) > 6) < 0.05


def test_labels_do_not_jitter_while_nothing_moves_much(videos):
    changes = [np.mean(before.labels != after.labels)
               for video in videos for before, after in pairwise(video)]
    assert np.median(changes) < 0.06


def test_a_nearer_vehicle_hides_a_farther_one(videos):
    vehicles = {DRIVING.names.index(name) for name in ('car', 'truck_bus')}
    compared = 0
    for item in (frame for video in videos for frame in video):
        seen = [one for one in item.attributes if one.label in vehicles and one.area > 100]
        for near in seen:
            for far in seen:
                apart = far.distance - near.distance > (far.size[2] + near.size[2]) / 2
                inner = abs(near.lateral - far.lateral) < 1.0
                if apart and inner and _share_inside(near.box, far.box) > 0.2:
                    compared += 1
                    assert near.box[3] >= far.box[3]
                    left, top = max(near.box[0], far.box[0]), max(near.box[1], far.box[1])
                    right, bottom = min(near.box[2], far.box[2]), min(near.box[3], far.box[3])
                    part = item.instances[top:bottom, left:right]
                    assert (part == near.instance_id).sum() > (part == far.instance_id).sum()
    assert compared > 0


def _share_inside(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Return the share of `other` that lies inside `box`."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    area = (other[2] - other[0]) * (other[3] - other[1])
    return max(0, width) * max(0, height) / area


def test_motion_agrees_with_speed_and_side_of_travel(videos):
    for item in (frame for video in videos for frame in video[::4]):
        for one in item.attributes:
            if one.motion in ('parked', 'standing', 'fixed', 'stopped'):
                assert one.speed < 0.4
            else:
                assert one.speed > 0.05
            if one.motion == 'crossing':
                assert abs(one.lateral_speed) == pytest.approx(one.speed)


def test_oncoming_traffic_comes_nearer():
    found = 0
    for seed in range(4):
        street = SyntheticStreet(seed, frames=10, size=SIZE)
        later = {one.instance_id: one for one in street[9].attributes}
        for one in street[0].attributes:
            if one.motion == 'oncoming' and one.instance_id in later:
                found += 1
                assert later[one.instance_id].distance < one.distance
    assert found > 3
