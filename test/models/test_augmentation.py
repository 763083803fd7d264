"""Geometry moves image and labels together; photometry and pasting do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.models.augmentation import Augmentation, LabelledImage, vary_photometry

CROP = (48, 64)


def patches(seed: int = 0, height: int = 80, width: int = 120, classes: int = 6) -> LabelledImage:
    """A picture whose red channel is 40 times the label, in patches of 20 pixels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, (height // 20, width // 20)).astype(np.uint8)
    labels = labels.repeat(20, 0).repeat(20, 1)
    image = np.stack([labels * 40, np.full_like(labels, 9 + seed), labels], -1).astype(np.uint8)
    return LabelledImage(image, labels)


def augment(seed: int, sample: LabelledImage | None = None, other: LabelledImage | None = None,
            **options: object) -> LabelledImage:
    augmentation = Augmentation(**{'crop': CROP, 'photometric': 0.0, **options})
    return augmentation(sample or patches(), other or patches(1), np.random.default_rng(seed))


@pytest.mark.parametrize('seed', range(20))
def test_labels_follow_the_image(seed: int) -> None:
    found = augment(seed)
    assert found.image.shape == (*CROP, 3)
    assert found.labels.shape == CROP
    assert found.image.dtype == found.labels.dtype == np.uint8
    inside = found.labels != 255
    red = found.image[..., 0].astype(int)
    agree = np.abs(red - 40 * found.labels.astype(int)) <= 1
    # linear and nearest sampling differ along borders alone
    assert agree[inside].mean() > 0.75
    assert inside.mean() > 0.25


def test_one_seed_one_result_and_the_inputs_stay() -> None:
    sample, other = patches(), patches(1)
    first = augment(3, sample, other, photometric=1.0, paste_classes=(2,))
    again = augment(3, sample, other, photometric=1.0, paste_classes=(2,))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(sample.image, patches().image)
    np.testing.assert_array_equal(sample.labels, patches().labels)
    assert (augment(4, sample, other).image != first.image).any()


def test_flips_half_of_the_images() -> None:
    columns = np.tile(np.arange(120, dtype=np.uint8), (80, 1))
    ramp = LabelledImage(np.repeat(columns[..., None], 3, 2), columns)
    flipped = 0
    for seed in range(60):
        image = augment(seed, ramp, scale=(1.2, 1.5)).image[24, :, 0].astype(int)
        flipped += int(image[-1] < image[0])
    assert 15 < flipped < 45


@pytest.mark.parametrize('seed', range(20))
def test_a_crop_of_a_larger_image_lies_within_it(seed: int) -> None:
    outside = augment(seed, scale=(1.2, 1.5)).labels == 255
    assert outside.mean() < 0.04


def test_zoom_covers_its_range() -> None:
    spans = []
    for seed in range(60):
        labels = augment(seed, scale=(0.5, 2.0)).labels
        edges = np.count_nonzero(np.diff(labels.astype(int), axis=1)) / CROP[0]
        spans.append(edges)
    assert max(spans) > 2.5 * min(spans) > 0


def test_what_lies_outside_is_not_labelled_but_reflected() -> None:
    found = augment(0, scale=(0.3, 0.31), ignore_id=99)
    outside = found.labels == 99
    assert 0.5 < outside.mean() < 0.95
    assert (found.image[outside][:, 1] == 9).all()


def test_pasting_copies_pixels_of_the_classes_alone() -> None:
    plain = patches(classes=3)
    other = patches(1, classes=6)
    pasted = 0
    for seed in range(10):
        found = augment(seed, plain, other, paste_probability=1.0, paste_classes=(4, 5))
        foreign = found.image[..., 1] == 10
        assert set(np.unique(found.labels[foreign])) <= {4, 5}
        assert set(np.unique(found.labels[~foreign])) <= {0, 1, 2, 255}
        pasted += int(foreign.any())
    assert pasted >= 8
    never = augment(0, plain, other, paste_probability=0.0, paste_classes=(4, 5))
    assert not np.isin(never.labels, (4, 5)).any()


def test_photometry_leaves_labels_alone() -> None:
    plain, varied = augment(5), augment(5, photometric=1.0)
    np.testing.assert_array_equal(plain.labels, varied.labels)
    assert np.abs(plain.image.astype(int) - varied.image).mean() > 3


def test_strength_of_photometry() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    still = vary_photometry(image, 0.0, np.random.default_rng(1))
    assert np.abs(still.astype(int) - image).max() <= 1
    changes = [np.mean([np.abs(vary_photometry(image, strength, np.random.default_rng(seed))
                               .astype(int) - image).mean() for seed in range(10)])
               for strength in (0.2, 1.0)]
    assert 1 < changes[0] < changes[1] / 2
