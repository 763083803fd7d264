"""Cumulative and mean IoU, with samples that have no target."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vseg_ros.evaluation.image_iou import ImageIou


def bar(first, last):
    mask = np.zeros((1, 1, 20), bool)
    mask[..., first:last] = True
    return mask


EMPTY = bar(0, 0)


def test_sums_and_means():
    iou = ImageIou()
    assert math.isnan(iou.ciou)
    assert math.isnan(iou.giou)
    iou.add(bar(0, 10), bar(5, 15))  # 5 of 15
    iou.add(bar(0, 2), bar(0, 2))  # 2 of 2
    assert iou.ciou == pytest.approx(7 / 17)
    assert iou.giou == pytest.approx((1 / 3 + 1) / 2)


def test_grefcocos_convention_for_no_target():
    right, wrong, missed = ImageIou(), ImageIou(), ImageIou()
    for iou in (right, wrong, missed):
        iou.add(bar(0, 4), bar(0, 8))
    right.add(EMPTY, EMPTY)
    wrong.add(bar(0, 3), EMPTY)
    missed.add(EMPTY, bar(0, 6))
    assert (right.ciou, right.giou) == (4 / 8, (0.5 + 1) / 2)
    assert (wrong.ciou, wrong.giou) == (4 / 11, 0.25)
    assert (missed.ciou, missed.giou) == (4 / 14, 0.25)
    assert (right.samples, wrong.samples) == (2, 2)


def test_only_empty_answers_to_nothing():
    iou = ImageIou()
    iou.add(EMPTY, EMPTY)
    assert (iou.ciou, iou.giou) == (1, 1)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match='cannot be compared'):
        ImageIou().add(EMPTY, EMPTY[0])
