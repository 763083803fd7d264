"""Masks laid over each other."""

from __future__ import annotations

import numpy as np

from vseg_ros.models.mask_painting import paint_objects

HEIGHT, WIDTH = 5, 7


def test_of_overlapping_masks_the_best_score_lies_on_top() -> None:
    left, right = np.zeros((2, HEIGHT, WIDTH), bool)
    left[:, :5], right[:, 3:] = True, True
    painted = paint_objects({1: left, 2: right}, {1: 0.9, 2: 0.5}, (HEIGHT, WIDTH))
    assert painted[0].tolist() == [1, 1, 1, 1, 1, 2, 2]
    painted = paint_objects({1: left, 2: right}, {1: 0.4, 2: 0.5}, (HEIGHT, WIDTH))
    assert painted[0].tolist() == [1, 1, 1, 2, 2, 2, 2]


def test_objects_without_a_score_are_not_painted() -> None:
    everything = np.ones((HEIGHT, WIDTH), bool)
    assert not paint_objects({1: everything}, {}, (HEIGHT, WIDTH)).any()
    assert not paint_objects({}, {1: 0.3}, (HEIGHT, WIDTH)).any()
