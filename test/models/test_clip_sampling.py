"""Clips have one stride, one geometry and nearly one colour; pans glide."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vseg_ros.errors import UserError
from vseg_ros.models.clip_sampling import augment_clip, pan_clip, sample_clip

CROP = (48, 64)
SCALE = (0.8, 1.2)


def source(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(deadline=None)
@given(length=st.integers(1, 200), frames=st.integers(1, 8), seed=st.integers(0, 2**31),
       strides=st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_clips_have_one_stride_and_lie_in_the_video(length: int, frames: int, seed: int,
                                                    strides: list[int]) -> None:
    clip = sample_clip(length, frames, strides, source(seed))
    assert len(clip) == frames
    assert clip[0] >= 0
    assert clip[-1] < length
    gaps = {after - before for before, after in pairwise(clip)}
    if length < frames:
        assert clip == [*range(length), *[length - 1] * (frames - length)]
    elif frames > 1:
        (gap,) = gaps
        if (frames - 1) * min(strides) < length:
            assert gap in strides
        else:
            assert gap == (length - 1) // (frames - 1)


def test_strides_that_fit_and_their_starts_are_equally_likely() -> None:
    random = source(0)
    clips = [tuple(sample_clip(16, 4, (1, 3, 5, 10), random)) for _ in range(3000)]
    strides = Counter(clip[1] - clip[0] for clip in clips)
    assert set(strides) == {1, 3, 5}
    assert all(900 < count < 1100 for count in strides.values())
    starts = Counter(clip[0] for clip in clips if clip[1] - clip[0] == 3)
    assert set(starts) == set(range(7))
    assert max(starts.values()) < 2 * min(starts.values())
    assert {clip[0] for clip in clips if clip[1] - clip[0] == 5} == {0}


def test_a_single_frame_may_be_any() -> None:
    random = source(0)
    assert {sample_clip(3, 1, (40,), random)[0] for _ in range(50)} == {0, 1, 2}


@pytest.mark.parametrize(('length', 'clip'), [
    (1, [0, 0, 0, 0]), (3, [0, 1, 2, 2]), (4, [0, 1, 2, 3]), (8, [0, 2, 4, 6])])
def test_video_too_short_for_any_stride(length: int, clip: list[int]) -> None:
    found = sample_clip(length, 4, (5, 10), source(0))
    assert [index - found[0] for index in found] == clip


@pytest.mark.parametrize('strides', [(), (0,), (2, -1)])
def test_strides_that_are_none(strides: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match='each 1 or more'):
        sample_clip(10, 3, strides, source(0))


def test_video_without_frames() -> None:
    with pytest.raises(UserError, match='no frame'):
        sample_clip(0, 3, (1,), source(0))


def picture(seed: int = 0, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose red channel is 40 times the label, in patches of 20 pixels."""
    labels = source(seed).integers(0, classes, (4, 6)).astype(np.uint8)
    labels = labels.repeat(20, 0).repeat(20, 1)
    return np.stack([labels * 40, labels * 0 + 90, labels * 20], -1).astype(np.uint8), labels


def clip_of(*pictures: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([image for image, _ in pictures]), np.stack([labels for _, labels in pictures])


@pytest.mark.parametrize('seed', range(10))
def test_all_frames_move_alike_and_labels_with_them(seed: int) -> None:
    images, labels = clip_of(picture(), picture(1), picture())
    moved, moved_labels = augment_clip(images, labels, CROP, SCALE, source(seed), photometric=0.0)
    assert moved.shape == (3, *CROP, 3)
    assert moved_labels.shape == (3, *CROP)
    assert moved.dtype == moved_labels.dtype == np.uint8
    np.testing.assert_array_equal(moved[0], moved[2])
    np.testing.assert_array_equal(moved_labels[0], moved_labels[2])
    assert (moved_labels[0] != moved_labels[1]).any()
    np.testing.assert_array_equal(moved_labels[0] == 255, moved_labels[1] == 255)
    inside = moved_labels != 255
    agree = np.abs(moved[..., 0].astype(int) - 40 * moved_labels.astype(int)) <= 1
    assert agree[inside].mean() > 0.75


def test_colours_change_mostly_alike() -> None:
    images, labels = clip_of(picture(), picture(), picture(), picture())
    within, between = [], []
    for seed in range(30):
        varied, _ = augment_clip(images, labels, (80, 120), (1.0, 1.0), source(seed))
        means = varied.mean((1, 2))
        within.append(np.abs(means - means.mean(0)).mean())
        between.append(means.mean(0))
        assert len(np.unique(means, axis=0)) == 4
    spread = np.abs(between - np.mean(between, 0)).mean()
    assert 0.02 * spread < np.mean(within) < 0.3 * spread


def test_noise_is_each_frames_own() -> None:
    flat = np.full((2, 40, 60, 3), 128, np.uint8)
    labels = np.zeros((2, 40, 60), np.uint8)
    noisy = 0
    for seed in range(40):
        varied, _ = augment_clip(flat, labels, (40, 60), (1.0, 1.0), source(seed), class_share=1)
        grain = varied.astype(float) - varied.mean((1, 2), keepdims=True)
        if grain.std(axis=(1, 2, 3)).min() > 2:
            noisy += 1
            assert abs(np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1]) < 0.1
    assert noisy > 3


def one_sided() -> tuple[np.ndarray, np.ndarray]:
    """A wide road with other things in its left fifth; the clip's frames differ."""
    image, labels = picture(classes=5)
    labels = labels + 1
    labels[:, 24:] = 0
    return clip_of((image, labels), (image, labels))


def largest_share(labels: np.ndarray) -> float:
    counts = np.bincount(labels[labels != 255])
    return counts.max() / counts.sum()


def test_crops_that_one_class_dominates_are_drawn_again() -> None:
    images, labels = one_sided()
    shares: dict[float, list[float]] = {0.75: [], 1.0: []}
    for seed in range(40):
        for share, found in shares.items():
            _, cropped = augment_clip(images, labels, (40, 40), (1.0, 1.0), source(seed),
                                      photometric=0.0, class_share=share)
            found.append(largest_share(cropped))
    assert np.mean(np.array(shares[1.0]) > 0.75) > 0.5
    assert np.mean(np.array(shares[0.75]) > 0.75) < 0.15


def test_a_clip_of_one_class_is_taken_as_it_is() -> None:
    images, labels = one_sided()
    for constant in (0, 255):
        _, cropped = augment_clip(images, np.full_like(labels, constant), CROP, SCALE, source(0))
        assert set(np.unique(cropped)) <= {constant, 255}


def test_one_seed_one_clip_and_the_inputs_stay() -> None:
    image, labels = picture()
    before = image.copy(), labels.copy()
    first, again, other = (pan_clip(image, labels, 4, CROP, SCALE, source(seed))
                           for seed in (1, 1, 2))
    for found, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(found, same)
        assert (found != different).any()
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


SMALL = (32, 40)


def places() -> tuple[np.ndarray, np.ndarray]:
    """An image whose red and green tell 3 x and 4 y."""
    y, x = np.mgrid[:60, :80]
    image = np.stack([3 * x, 4 * y, x], -1).astype(np.uint8)
    return image, (x // 8).astype(np.uint8)


@pytest.mark.parametrize('seed', range(15))
def test_pans_glide_evenly_and_slowly(seed: int) -> None:
    image, labels = places()
    moved, moved_labels = pan_clip(image, labels, 5, SMALL, (1.0, 1.0), source(seed),
                                   photometric=0.0)
    assert moved.shape == (5, *SMALL, 3)
    assert moved_labels.shape == (5, *SMALL)
    centre = moved[:, 12:20, 16:24, :2].astype(float).mean((1, 2)) / (3, 4)
    time = np.arange(5) - 2
    speed = time @ centre / (time @ time)
    assert np.abs(centre - centre.mean(0) - time[:, None] * speed).max() < 0.25
    assert 0.02 < np.abs(speed).max() < 0.03 * 40 * 1.2 + 0.1
    inside = moved_labels != 255
    assert (moved_labels == np.rint(moved[..., 0] / 3) // 8)[inside].mean() > 0.85


def test_pans_zoom_in_and_out() -> None:
    image, labels = places()
    zooms = []
    for seed in range(30):
        moved, _ = pan_clip(image, labels, 5, SMALL, (1.0, 1.0), source(seed), photometric=0.0)
        spans = np.abs(moved[:, 16, 35, 0].astype(float) - moved[:, 16, 4, 0])
        zooms.append((spans[-1] / spans[0]) ** 0.25)
    assert 0.96 < min(zooms) < 0.99
    assert 1.01 < max(zooms) < 1.04


def test_most_labels_of_a_pan_are_stable() -> None:
    image, labels = picture()
    stable = []
    for seed in range(20):
        _, moved = pan_clip(image, labels, 4, CROP, SCALE, source(seed), photometric=0.0)
        stable.append((moved[1:] == moved[:-1]).mean())
    assert 0.8 < np.mean(stable) < 0.99


def test_still_pan() -> None:
    image, labels = picture()
    moved, moved_labels = pan_clip(image, labels, 3, CROP, SCALE, source(0), speed=0.0,
                                   photometric=0.0)
    for frame in (1, 2):
        np.testing.assert_array_equal(moved[0], moved[frame])
        np.testing.assert_array_equal(moved_labels[0], moved_labels[frame])
