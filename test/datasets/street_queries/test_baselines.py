"""What does not read the sentence."""

from __future__ import annotations

import numpy as np

from vseg_ros.datasets.street_queries import largest_moving, random_instance


def test_largest_moving_passes_over_what_stands(make_clip):
    clip = make_clip({'area': 0.2}, {'area': 0.01, 'speed': 5.0, 'motion': 'oncoming'},
                     {'area': 0.03, 'speed': 5.0, 'motion': 'oncoming'})
    assert largest_moving(clip) == {3}
    assert largest_moving(make_clip({})) == frozenset()


def test_random_instance_takes_every_referent_and_no_sign(make_clip):
    clip = make_clip({}, {'area': 0.0005}, {'label': 7, 'kind': 'no entry'}, {'kind': 'bus'})
    rng = np.random.default_rng(0)
    assert {next(iter(random_instance(clip, rng))) for _ in range(40)} == {1, 4}
