from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.datasets.weather import Weather, parse_weather
from vseg_ros.datasets.weather_source import WeatherSource
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.every_nth import EveryNth
from vseg_ros.io.source import open_source
from vseg_ros.labels import DRIVING

FOG = parse_weather('fog:3')


@pytest.fixture(scope='module')
def street(tmp_path_factory):
    """A bag of a short drive, because generating it anew for each test takes its time."""
    path = tmp_path_factory.mktemp('drive') / 'street.mcap'
    write_camera_bag(open_source('street:1:4'), path)
    return open_source(path)


def test_every_frame_is_drawn_from_seed_and_index(street):
    shown = list(WeatherSource(street, FOG, seed=5))
    for index, (clear, item) in enumerate(zip(street, shown, strict=True)):
        expected = FOG(clear.frame.image, np.random.default_rng((5, index)))
        assert np.array_equal(item.frame.image, expected)


@pytest.mark.parametrize('name', ['fog', 'frost', 'snow', 'spatter'])
def test_iterating_again_gives_the_same(street, name):
    source = WeatherSource(street, Weather(name, 4))
    for one, other in zip(source, source, strict=True):
        assert np.array_equal(one.frame.image, other.frame.image)


def test_seeds_and_frames_differ(street):
    first, second = (list(WeatherSource(street, FOG, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(first[0].frame.image, second[0].frame.image)
    clear = [item.frame.image.astype(int) for item in street]
    added = [item.frame.image - image for item, image in zip(first, clear, strict=True)]
    assert np.abs(added[0] - added[1]).mean() > 5


def test_all_else_is_the_source(street):
    source = WeatherSource(street, FOG)
    assert source.name == 'street in fog:3'
    assert (source.path, source.label_set) == (street.path, DRIVING)
    assert source.frame_count == 4
    for clear, item in zip(street, source, strict=True):
        assert item.labels is not None
        assert np.array_equal(item.labels, clear.labels)
        assert (item.frame.stamp, item.frame.frame_id) == (clear.frame.stamp, clear.frame.frame_id)


def test_a_frame_keeps_its_weather_at_another_rate(street):
    """Weather below the stride: what changes is the rate alone."""
    every = list(WeatherSource(street, FOG))
    third = list(EveryNth(WeatherSource(street, FOG), 3))
    assert len(third) == 2
    for item, same in zip(third, every[::3], strict=True):
        assert np.array_equal(item.frame.image, same.frame.image)
