"""mVC of sparse ground truth against Eq. 13, pixel by pixel."""

from __future__ import annotations

import math
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vseg_ros.evaluation.sparse_consistency import (
    STATIC_GREY_LEVELS,
    SparseConsistency,
    smooth_grey,
    static_pixels,
)

CLASSES = 2
SIZE = 5, 6
STILL = np.full((*SIZE, 3), 100, np.uint8)


def slow_grey(image):
    """Return the blurred grey value of every pixel, as a whole number from 0 to 255."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(grey, (5, 5), 0).astype(int).tolist()


def slow_windows(images, predictions, labels, window):
    """Return the share of every window of Eq. 13, with sets of pixels."""
    greys = [slow_grey(image) for image in images]
    pixels = [(y, x) for y in range(SIZE[0]) for x in range(SIZE[1])]
    shares = []
    for r, labelled in enumerate(labels):
        if labelled is None or r + window > len(images):
            continue
        kept = {u for u in pixels if labelled[u] < CLASSES}
        steady = set(pixels)
        for i in range(r, r + window):
            kept &= {(y, x) for y, x in pixels if abs(greys[i][y][x] - greys[r][y][x]) <= 6}
            steady &= {u for u in pixels if predictions[i][u] == predictions[r][u]}
        if kept:
            shares.append(len(kept & steady) / len(kept))
    return shares


def video(generator, frames, change, labelled):
    """Make images and maps that change here and there, and labels of some of the frames."""
    images = [generator.integers(0, 256, (*SIZE, 3), np.uint8)]
    predictions = [generator.integers(0, 3, SIZE, np.uint8)]
    for _ in range(frames - 1):
        moved = generator.random(SIZE) < change
        step = generator.integers(-80, 81, SIZE)
        moved_image = np.clip(images[-1] + (moved * step)[..., None], 0, 255).astype(np.uint8)
        images.append(moved_image)
        predictions.append(np.where(generator.random(SIZE) < change,
                                    generator.integers(0, 3, SIZE, np.uint8), predictions[-1]))
    labels = [generator.choice([0, 1, 2, 255], SIZE).astype(np.uint8)
              if generator.random() < labelled else None for _ in range(frames)]
    return images, predictions, labels


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 22), min_size=1, max_size=3),
       st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from([0.1, 0.5, 1.0]))
def test_equals_eq_13(seed, lengths, change, labelled):
    generator = np.random.default_rng(seed)
    streaming = SparseConsistency(CLASSES, (2, 5, 16))
    shares = {2: [], 5: [], 16: []}
    for length in lengths:
        images, predictions, labels = video(generator, length, change, labelled)
        for image, predicted, true in zip(images, predictions, labels, strict=True):
            streaming.add(image, predicted, true)
        streaming.end_video()
        for window, all_shares in shares.items():
            all_shares += slow_windows(images, predictions, labels, window)
    for window, all_shares in shares.items():
        expected = np.mean(all_shares) if all_shares else math.nan
        np.testing.assert_allclose(streaming.score(window), expected, rtol=1e-12)


def test_the_videos_of_the_test_above_are_not_trivial():
    scores = []
    for seed in range(20):
        scores += slow_windows(*video(np.random.default_rng(seed), 12, 0.05, 0.5), 5)
    assert 0.1 < np.mean(scores) < 0.9


def test_static_is_a_small_change_of_the_blurred_grey_value():
    reference = smooth_grey(STILL)
    for change, static in ((STATIC_GREY_LEVELS, True), (-STATIC_GREY_LEVELS, True),
                           (STATIC_GREY_LEVELS + 1, False), (-STATIC_GREY_LEVELS - 1, False)):
        changed = (STILL.astype(int) + change).astype(np.uint8)
        assert static_pixels(reference, smooth_grey(changed)).all() == static


def test_camera_noise_is_no_motion_but_a_moved_edge_is():
    generator = np.random.default_rng(0)
    scene = np.full((60, 80, 3), 90, np.uint8)
    scene[:, 40:] = 150
    noisy = [np.clip(scene + generator.normal(0, 3, scene.shape), 0, 255).astype(np.uint8)
             for _ in range(2)]
    assert static_pixels(*map(smooth_grey, noisy)).mean() > 0.999
    moved = static_pixels(smooth_grey(scene), smooth_grey(np.roll(scene, 6, axis=1)))
    assert not moved[:, 41:45].any()
    assert moved[:, 50:75].all()


def add_frames(consistency, frames, labelled, predictions=None):
    for index in range(frames):
        labels = np.zeros(SIZE, np.uint8) if index in labelled else None
        predicted = np.zeros(SIZE, np.uint8) if predictions is None else predictions[index]
        consistency.add(STILL, predicted, labels)


def test_a_window_starts_at_its_reference_frame():
    # Steady from the labelled frame on, wild before it and after its window.
    wild = [np.full(SIZE, index % 3, np.uint8) for index in range(30)]
    steady = [*wild[:10], *[np.ones(SIZE, np.uint8)] * 8, *wild[18:]]
    consistency = SparseConsistency(CLASSES)
    add_frames(consistency, 30, {10}, steady)
    assert consistency.score(8) == 1
    assert consistency.score(16) == 0


@pytest.mark.parametrize(('frames', 'scored'), [(14, False), (15, True)])
def test_a_window_that_reaches_past_the_end_is_left_out(frames, scored):
    consistency = SparseConsistency(CLASSES)
    add_frames(consistency, frames, {7})
    consistency.end_video()
    add_frames(consistency, 7, {})
    assert math.isnan(consistency.score(8)) is not scored
    assert math.isnan(consistency.score(16))


def test_constant_is_enough_it_need_not_be_right():
    consistency = SparseConsistency(CLASSES)
    add_frames(consistency, 8, {0}, [np.ones(SIZE, np.uint8)] * 8)
    assert consistency.score(8) == 1


def test_unlabelled_pixels_of_the_reference_frame_do_not_count():
    labels = np.full(SIZE, 255, np.uint8)
    labels[0] = 0
    labels[1] = CLASSES
    flickering = np.zeros(SIZE, np.uint8)
    flickering[1:] = 1
    consistency = SparseConsistency(CLASSES, (2,))
    consistency.add(STILL, np.zeros(SIZE, np.uint8), labels)
    consistency.add(STILL, flickering, None)
    assert consistency.score(2) == 1


def test_a_reference_frame_without_a_labelled_pixel_is_left_out():
    consistency = SparseConsistency(CLASSES, (2,))
    for _ in range(3):
        consistency.add(STILL, np.zeros(SIZE, np.uint8), np.full(SIZE, 255, np.uint8))
    assert math.isnan(consistency.score(2))


def test_the_callers_arrays_may_be_reused():
    image, predictions = STILL.copy(), np.zeros(SIZE, np.uint8)
    labels = np.zeros(SIZE, np.uint8)
    consistency = SparseConsistency(CLASSES, (2,))
    for frame in range(6):
        predictions[:] = frame
        labels[:] = 0
        consistency.add(image, predictions, labels)
        labels[:] = 255
    assert consistency.score(2) == 0
    consistency.end_video()
    consistency.add(image, predictions, np.zeros(SIZE, np.uint8))
    image[:] = 200
    consistency.add(image, predictions, None)
    # Nothing is static from 100 to 200, so the window is left out.
    assert consistency.score(2) == 0


def held_after(frames, labelled):
    consistency = SparseConsistency(CLASSES)
    image, maps = np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100), np.uint8)
    tracemalloc.start()
    try:
        for index in range(frames):
            consistency.add(image, maps, maps if labelled(index) else None)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return held


def test_memory_does_not_grow_with_the_video():
    # A reference holds two maps of 10,000 bytes, of at most 15 frames that wait for the 16th;
    # two maps more are the last predictions and their run lengths.
    assert held_after(200, lambda index: True) < 340_000
    assert held_after(200, lambda index: index % 30 == 19) < 50_000
    assert held_after(200, lambda index: False) < 5_000


def test_a_change_of_size_starts_anew():
    consistency = SparseConsistency(CLASSES, (2,))
    for size in (3, 3, 5):
        maps = np.zeros((2, size), np.uint8)
        consistency.add(np.zeros((2, size, 3), np.uint8), maps, maps)
    assert consistency.score(2) == 1


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='differ in size'):
        SparseConsistency(CLASSES).add(STILL, np.zeros(SIZE, np.uint8), np.zeros((2, 3), np.uint8))
