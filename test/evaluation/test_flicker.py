"""Flicker of a stream of predictions."""

from __future__ import annotations

import math

import numpy as np

from vseg_ros.evaluation.flicker import STILL_GREY_LEVELS, FlickerMeter

IMAGE = np.full((2, 5, 3), 100, np.uint8)


def test_the_first_frame_has_none():
    flicker = FlickerMeter().add(IMAGE, np.zeros((2, 5), np.uint8))
    assert math.isnan(flicker.flicker)
    assert math.isnan(flicker.still_flicker)
    assert not flicker.changed.any()


def test_counts_changed_pixels_and_those_where_the_image_stood_still():
    meter = FlickerMeter()
    labels = np.zeros((2, 5), np.uint8)
    meter.add(IMAGE, labels)
    image, after = IMAGE.copy(), labels.copy()
    after[0, :3] = 1
    image[0, 0, 2] += STILL_GREY_LEVELS + 1
    image[0, 1, 2] -= STILL_GREY_LEVELS
    flicker = meter.add(image, after)
    assert flicker.flicker == 3 / 10
    assert flicker.still_flicker == 2 / 9
    assert flicker.changed.sum() == 3


def test_an_image_that_changed_everywhere_tells_nothing_about_still_pixels():
    meter = FlickerMeter()
    meter.add(IMAGE, np.zeros((2, 5), np.uint8))
    flicker = meter.add(IMAGE + 50, np.ones((2, 5), np.uint8))
    assert flicker.flicker == 1
    assert math.isnan(flicker.still_flicker)


def test_a_change_of_size_starts_anew():
    meter = FlickerMeter()
    meter.add(IMAGE, np.zeros((2, 5), np.uint8))
    assert math.isnan(meter.add(IMAGE[:, :4], np.ones((2, 4), np.uint8)).flicker)
