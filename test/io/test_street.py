"""Synthetic street: frames, labels and instances."""

from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.errors import UserError
from vseg_ros.io.street import LIGHTINGS, WEATHERS, StreetFrame, SyntheticStreet
from vseg_ros.labels import DRIVING

SIZE = (120, 160)


@pytest.fixture(scope='module')
def frames() -> list[StreetFrame]:
    return list(SyntheticStreet(3, frames=16, size=SIZE))


def same(first: StreetFrame, second: StreetFrame) -> bool:
    return (np.array_equal(first.frame.image, second.frame.image)
            and np.array_equal(first.labels, second.labels)
            and np.array_equal(first.instances, second.instances)
            and first.attributes == second.attributes)


def test_same_seed_gives_the_same_bytes_in_any_order(frames):
    street = SyntheticStreet(3, frames=16, size=SIZE)
    for index in (11, 2, 7, -1):
        assert same(street[index], frames[index])
    assert all(same(*pair) for pair in zip(frames[:3], street, strict=False))


def test_number_of_frames_changes_no_frame(frames):
    assert same(SyntheticStreet(3, frames=6, size=SIZE)[5], frames[5])


def test_seeds_differ():
    first, second = (SyntheticStreet(seed, frames=1, size=SIZE)[0] for seed in (0, 1))
    assert not np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first.frame.image, second.frame.image)


def test_shapes_and_types(frames):
    street = SyntheticStreet(3, frames=16, size=SIZE)
    assert len(street) == 16
    assert street.label_set is DRIVING
    for item in frames[::5]:
        assert item.frame.image.shape == (*SIZE, 3)
        assert item.labels.shape == item.instances.shape == SIZE
        assert item.labels.dtype == np.uint8
        assert item.instances.dtype == np.uint16
        assert item.labels.max() < len(DRIVING)
    assert frames[15].frame.stamp == 10 ** 9


def test_every_class_occurs_within_a_few_seeds():
    seen: set[int] = set()
    for seed in range(30):
        street = SyntheticStreet(seed, frames=100, size=SIZE)
        for index in (0, 70):
            seen |= set(np.unique(street[index].labels).tolist())
        if len(seen) == len(DRIVING):
            break
    assert seen == set(range(len(DRIVING)))


def test_the_road_lies_below_the_sky():
    for seed in range(4):
        labels = SyntheticStreet(seed, frames=1, size=SIZE)[0].labels
        rows = np.arange(SIZE[0])[:, None] * np.ones(SIZE[1])
        assert rows[labels == 9].mean() < rows[labels == 0].mean()
        assert (labels[-1] == 0).mean() > 0.3
        assert not (labels[-1] == 9).any()


@pytest.mark.parametrize('weather', WEATHERS)
def test_weather_changes_pixels_never_labels(weather):
    usual = SyntheticStreet(4, frames=8, size=SIZE, weather='clear', lighting='day')[7]
    other = SyntheticStreet(4, frames=8, size=SIZE, weather=weather, lighting='dusk')[7]
    assert np.array_equal(usual.labels, other.labels)
    assert np.array_equal(usual.instances, other.instances)
    assert usual.attributes == other.attributes
    assert not np.array_equal(usual.frame.image, other.frame.image)


def test_fog_hides_what_is_far_and_night_is_dark():
    pictures = {(weather, lighting): SyntheticStreet(
        6, frames=1, size=SIZE, weather=weather, lighting=lighting)[0].frame.image
        for weather, lighting in (('clear', 'day'), ('fog', 'day'), ('clear', 'night'))}
    middle = (slice(45, 66), slice(40, 120))
    spread = {key: image[middle].std() for key, image in pictures.items()}
    assert spread['fog', 'day'] < 0.7 * spread['clear', 'day']
    assert pictures['clear', 'night'].mean() < 0.5 * pictures['clear', 'day'].mean()
    assert set(LIGHTINGS) == {'day', 'dusk', 'night'}


@pytest.mark.parametrize('size', [(96, 256), (200, 101), (400, 320)])
def test_other_sizes(size):
    item = SyntheticStreet(2, frames=2, size=size)[1]
    assert item.labels.shape == size
    assert item.frame.size == size
    assert len(np.unique(item.labels)) >= 5


def test_size_does_not_move_the_scene():
    small = SyntheticStreet(2, frames=2, size=(180, 240))[1].labels
    large = SyntheticStreet(2, frames=2, size=(360, 480))[1].labels
    assert (large[::2, ::2] == small).mean() > 0.93


@pytest.mark.parametrize(('argument', 'value', 'hint'), [
    ('seed', -1, '0 or more'), ('frames', 0, 'at least 1'), ('size', (8, 480), '32 to 4096'),
    ('size', (480,), 'height and width'), ('fps', 0.0, 'more than 0'),
    ('weather', 'hail', 'clear, overcast'), ('lighting', 'noon', 'day, dusk')])
def test_bad_arguments_are_named(argument, value, hint):
    with pytest.raises(UserError, match=hint):
        SyntheticStreet(**{argument: value})


def test_index_out_of_range():
    with pytest.raises(IndexError):
        SyntheticStreet(0, frames=3, size=SIZE)[3]
