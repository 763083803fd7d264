"""What is known of a clip, against the attributes themselves."""

from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.datasets.street_queries import clip_facts
from vseg_ros.io.street import SyntheticStreet

from .conftest import SEEDS, SIZE


def test_facts_repeat_the_attributes(street_clips, street_facts):
    for clip, facts in zip(street_clips, street_facts, strict=True):
        seen = {}
        for frame, item in enumerate(clip):
            for one in item.attributes:
                if one.label != 5:
                    seen.setdefault(one.instance_id, []).append((frame, one))
        assert [thing.instance_id for thing in facts.things] == sorted(seen)
        for thing in facts.things:
            known = seen[thing.instance_id]
            assert thing.frames.tolist() == [frame for frame, _ in known]
            assert thing.area.tolist() == pytest.approx(
                [(clip[frame].instances == thing.instance_id).mean() for frame, _ in known])
            assert thing.distance.tolist() == [one.distance for _, one in known]
            assert thing.side == known[-1][1].side
            large = sum(one.area >= 0.0012 * SIZE[0] * SIZE[1] for _, one in known)
            assert thing.referable == (len(known) > 1 and 2 * large >= len(known))


def test_camera_speed_is_that_of_the_drive(street_clips, street_facts):
    for seed, facts in zip(SEEDS, street_facts, strict=True):
        street = SyntheticStreet(seed, frames=60, size=SIZE)
        first, last = street._ego.position(facts.times[[0, -1]])
        true = (last - first) / (facts.times[-1] - facts.times[0])
        assert facts.camera_speed == pytest.approx(true, abs=0.5)


def test_closing_and_along(make_clip):
    clip = make_clip({'distance': [20.0, 18.0, 16.0, 14.0], 'motion': 'oncoming', 'speed': 4.0})
    assert clip.things[0].closing == pytest.approx(4.0)
    assert clip.along(clip.things[0]) == pytest.approx(-4.0)


def test_small_or_single_views_are_no_referents(make_clip):
    clip = make_clip({'area': 0.0009}, {'area': [0.002, 0.002, 0.0005, 0.0005]},
                     {'seen': [True, False, False, False]})
    assert clip.referable.tolist() == [False, True, False]
    assert clip.visible.tolist() == [True, True, True]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match='at least two'):
        clip_facts([()], [0.0], SIZE)
    with pytest.raises(ValueError, match='at least two'):
        clip_facts([(), ()], [0.0], SIZE)
    with pytest.raises(ValueError, match='rise'):
        clip_facts([(), ()], [1.0, 1.0], SIZE)


def test_an_empty_street_is_no_trouble():
    facts = clip_facts([(), ()], [0.0, 1.0], SIZE)
    assert facts.things == ()
    assert facts.camera_speed is None
    assert not np.any(facts.visible)
