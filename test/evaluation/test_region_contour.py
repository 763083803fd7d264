"""J and F: equal to DAVIS-2017's own code, and to literal loops."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from vseg_ros.evaluation.region_contour import (
    contour,
    contour_accuracy,
    region_similarity,
    score_masks,
)


def literal_contour(mask):
    height, width = mask.shape
    pixels = []
    for y in range(height):
        for x in range(width):
            others = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if any(b < height and a < width and mask[b, a] != mask[y, x] for b, a in others):
                pixels.append((y, x))
    return pixels


def literal_accuracy(mask, truth):
    height, width = truth.shape
    radius = math.ceil(0.008 * math.sqrt(height ** 2 + width ** 2))
    drawn, wanted = literal_contour(mask), literal_contour(truth)
    if not drawn and not wanted:
        return 1.0
    if not drawn or not wanted:
        return 0.0

    def found(pixels, others):
        return sum(any((y - b) ** 2 + (x - a) ** 2 <= radius ** 2 for b, a in others)
                   for y, x in pixels) / len(pixels)
    precision, recall = found(drawn, wanted), found(wanted, drawn)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def literal_similarity(mask, truth):
    pairs = list(zip(mask.ravel().tolist(), truth.ravel().tolist(), strict=True))
    union = sum(a or b for a, b in pairs)
    return sum(a and b for a, b in pairs) / union if union else 1.0


def random_mask(rng, height, width):
    """Nothing, noise or some ellipses, which may touch the border."""
    kind = rng.integers(0, 5)
    if kind < 2:
        return rng.random((height, width)) < kind * rng.random()
    mask = np.zeros((height, width), np.uint8)
    for _ in range(kind - 1):
        middle = int(rng.integers(0, width)), int(rng.integers(0, height))
        axes = int(rng.integers(1, width // 2)), int(rng.integers(1, height // 2))
        cv2.ellipse(mask, middle, axes, float(rng.integers(0, 180)), 0, 360, 1, -1)
    return mask.astype(bool)


def test_small_masks_equal_the_loops():
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = rng.integers(4, 30, 2).tolist()
        mask = random_mask(rng, height, width)
        truth = random_mask(rng, height, width) if rng.random() < 0.5 else np.roll(mask, 1, 1)
        assert np.argwhere(contour(truth)).tolist() == [list(p) for p in literal_contour(truth)]
        scores = score_masks(mask, truth)
        assert scores.f == pytest.approx(literal_accuracy(mask, truth), abs=1e-9)
        assert scores.j == pytest.approx(literal_similarity(mask, truth), abs=1e-9)
        assert scores.jf == pytest.approx((scores.j + scores.f) / 2)


def test_a_wide_tolerance_equals_the_loops():
    rng = np.random.default_rng(1)
    for shape in ((160, 240), (90, 400)):  # 3 and 4 pixels
        truth = np.zeros(shape, np.uint8)
        cv2.ellipse(truth, (shape[1] // 2, shape[0] // 2), (40, 25), 20.0, 0, 360, 1, -1)
        mask = np.roll(truth, rng.integers(-4, 5, 2).tolist(), (0, 1)).astype(bool)
        mask[:6, :9] = True
        wanted = literal_accuracy(mask, truth.astype(bool))
        assert 0 < wanted < 1
        assert contour_accuracy(mask, truth.astype(bool)) == pytest.approx(wanted, abs=1e-9)


def test_davis_2017s_own_code_gives_the_same():
    # Two ellipses at 480p; the numbers are what the official evaluation printed for them.
    y, x = np.mgrid[:480, :854]
    truth = ((x - 300) / 90) ** 2 + ((y - 200) / 60) ** 2 < 1
    mask = ((x - 312) / 80) ** 2 + ((y - 206) / 66) ** 2 < 1
    scores = score_masks(mask, truth)
    assert scores.j == pytest.approx(0.7975851891601825, abs=1e-9)
    assert scores.f == pytest.approx(0.5462977652272318, abs=1e-9)


def test_nothing_where_nothing_is():
    empty, full = np.zeros((2, 20, 30), bool)
    full = ~full
    box = empty.copy()
    box[5:9, 4:20] = True
    assert score_masks(empty, empty).jf == 1
    assert score_masks(box, box).jf == 1
    for mask, truth in ((empty, box), (box, empty)):
        assert (region_similarity(mask, truth), contour_accuracy(mask, truth)) == (0, 0)
    # A mask of the whole image has no contour, and so has an empty one.
    assert (region_similarity(full, empty), contour_accuracy(full, empty)) == (0, 1)


def test_a_track_is_the_mean_of_all_its_frames():
    rng = np.random.default_rng(2)
    masks, truth = rng.random((2, 5, 24, 32)) < 0.5
    assert region_similarity(masks, truth) == pytest.approx(np.mean(
        [region_similarity(mask, wanted) for mask, wanted in zip(masks, truth, strict=True)]))
    assert contour_accuracy(masks, truth) == pytest.approx(np.mean(
        [contour_accuracy(mask, wanted) for mask, wanted in zip(masks, truth, strict=True)]))


@pytest.mark.parametrize('shapes', [((4, 5), (4, 6)), ((0, 4, 5), (0, 4, 5)), ((5,), (5,)),
                                    ((1, 4, 5), (4, 5))])
def test_masks_that_cannot_be_compared_are_refused(shapes):
    with pytest.raises(ValueError, match='cannot be compared'):
        score_masks(*(np.zeros(shape, bool) for shape in shapes))
