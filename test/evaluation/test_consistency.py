"""mVC against its definition, window by window and frame by frame."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vseg_ros.evaluation.consistency import VideoConsistency


def slow_windows(predictions, labels, window):
    """Return the share of every window that has a pixel of constant truth."""
    shares = []
    for start in range(len(labels) - window):
        true_steady = np.ones(labels[0].shape, bool)
        steady = np.ones(labels[0].shape, bool)
        for frame in range(start, start + window):
            true_steady &= labels[frame] == labels[start]
            steady &= predictions[frame] == predictions[start]
        if true_steady.any():
            shares.append((true_steady & steady).sum() / true_steady.sum())
    return shares


def drifting(generator, frames, change):
    """Make maps of which each pixel changes with a certain probability a frame."""
    maps = [generator.choice([0, 1, 255], (5, 6)).astype(np.uint8)]
    for _ in range(frames - 1):
        renewed = generator.random((5, 6)) < change
        fresh = generator.choice([0, 1, 255], (5, 6)).astype(np.uint8)
        maps.append(np.where(renewed, fresh, maps[-1]))
    return maps


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 24), min_size=1, max_size=3),
       st.sampled_from([0.02, 0.15, 0.6]))
def test_equals_the_definition(seed, lengths, change):
    generator = np.random.default_rng(seed)
    streaming = VideoConsistency((2, 8, 16))
    shares = {2: [], 8: [], 16: []}
    for length in lengths:
        labels, predictions = (drifting(generator, length, change) for _ in range(2))
        for predicted, true in zip(predictions[:length], labels[:length], strict=True):
            streaming.add(predicted, true)
        streaming.end_video()
        for window, all_shares in shares.items():
            all_shares += slow_windows(predictions[:length], labels[:length], window)
    for window, all_shares in shares.items():
        expected = np.mean(all_shares) if all_shares else math.nan
        np.testing.assert_allclose(streaming.score(window), expected, rtol=1e-12)


def eq_12(predictions, labels, n):
    """Return VC_n of one video as Time2General writes it, with sets of pixels."""
    pixels = [(y, x) for y in range(5) for x in range(6)]
    total, windows = 0.0, len(labels) - n + 1
    for t in range(windows):
        true, predicted = set(pixels), set(pixels)
        for i in range(t, t + n):
            true &= {u for u in pixels if labels[i][u] == labels[t][u]}
            predicted &= {u for u in pixels if predictions[i][u] == predictions[t][u]}
        total += len(true & predicted) / len(true)
    return total / windows


@pytest.mark.parametrize('window', [2, 8, 16])
@pytest.mark.parametrize('seed', range(4))
def test_equals_eq_12_but_for_the_window_that_ends_the_video(seed, window):
    generator = np.random.default_rng(seed)
    labels, predictions = (drifting(generator, 22, 0.03) for _ in range(2))
    streaming = VideoConsistency((window,))
    for predicted, true in zip(predictions, labels, strict=True):
        streaming.add(predicted, true)
    assert streaming.score(window) == pytest.approx(
        eq_12(predictions[:-1], labels[:-1], window), rel=1e-12)
    assert streaming.score(window) != pytest.approx(eq_12(predictions, labels, window), rel=1e-12)


@pytest.mark.parametrize(('frames', 'scored'), [(7, False), (8, False), (9, True)])
def test_a_window_needs_one_frame_more_than_its_length(frames, scored):
    consistency = VideoConsistency()
    for _ in range(frames):
        consistency.add(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8))
    assert math.isnan(consistency.score(8)) is not scored
    assert math.isnan(consistency.score(16))


def test_constant_is_enough_it_need_not_be_right():
    consistency = VideoConsistency()
    for _ in range(9):
        consistency.add(np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8))
    assert consistency.score(8) == 1


def test_the_callers_maps_may_be_reused():
    predictions, labels = np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)
    consistency = VideoConsistency((2,))
    for frame in range(6):
        predictions[:] = frame
        consistency.add(predictions, labels)
    assert consistency.score(2) == 0


def test_memory_does_not_grow_with_the_video():
    consistency = VideoConsistency()
    tracemalloc.start()
    try:
        for _ in range(200):
            consistency.add(np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert consistency.score(16) == 1
    # Four maps of 10,000 bytes: the last labels and predictions, and their run lengths.
    assert held < 60_000


def test_a_change_of_size_starts_anew():
    consistency = VideoConsistency((2,))
    for size in (3, 3, 3, 5):
        consistency.add(np.zeros((2, size), np.uint8), np.zeros((2, size), np.uint8))
    assert consistency.score(2) == 1


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='differ in size'):
        VideoConsistency().add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
