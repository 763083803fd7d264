from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.datasets.weather import SEVERITIES, WEATHERS, Weather, parse_weather
from vseg_ros.errors import UserError

EVERY = [Weather(name, severity) for name in WEATHERS for severity in SEVERITIES]

# What the benchmark's published implementation makes of `picture()` with the same draws: mean of
# red, green and blue, and the standard deviation.
PUBLISHED = [
    ('fog:1', (118.75, 130.26, 124.51), 34.23),
    ('fog:2', (91.43, 100.98, 96.20), 26.21),
    ('fog:3', (92.21, 100.36, 96.28), 24.03),
    ('fog:4', (100.79, 108.93, 104.86), 34.79),
    ('fog:5', (119.43, 126.54, 122.99), 35.10),
    ('snow:1', (136.01, 158.57, 147.97), 58.35),
    ('snow:2', (170.19, 184.35, 179.30), 56.63),
    ('snow:3', (169.07, 183.94, 178.47), 58.12),
    ('snow:4', (182.35, 193.34, 189.77), 56.29),
    ('snow:5', (202.76, 207.01, 206.83), 48.44),
    ('spatter:1', (90.31, 120.69, 105.80), 57.63),
    ('spatter:2', (91.19, 121.68, 106.97), 58.06),
    ('spatter:3', (94.68, 126.28, 111.71), 59.62),
    ('spatter:4', (86.72, 110.70, 95.70), 56.73),
    ('spatter:5', (85.03, 107.92, 91.03), 56.71),
]


def picture(height: int = 90, width: int = 120):
    """A gradient in every channel."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 2, columns * 2, rows + columns], -1).astype(np.uint8)


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(('text', 'mean', 'deviation'), PUBLISHED)
def test_pictures_are_those_of_the_published_benchmark(text, mean, deviation):
    weather = parse_weather(text)
    painted = weather(picture(), np.random.default_rng((7, weather.severity)))
    assert painted.mean((0, 1)) == pytest.approx(mean, abs=0.05)
    assert painted.std() == pytest.approx(deviation, abs=0.05)


@pytest.mark.parametrize('weather', EVERY, ids=str)
def test_any_size_gives_an_image_of_that_size(weather):
    for size in ((1, 1), (2, 3), (1, 40), (61, 45), (128, 128), (33, 700)):
        image = picture(*size)
        image.flags.writeable = False
        painted = weather(image, draws())
        assert painted.dtype == np.uint8
        assert painted.shape == image.shape
        assert np.array_equal(image, picture(*size))


@pytest.mark.parametrize('weather', EVERY, ids=str)
def test_the_generator_alone_decides(weather):
    image = picture()
    painted = weather(image, draws(3))
    assert np.array_equal(painted, weather(image, draws(3)))
    assert not np.array_equal(painted, weather(image, draws(4)))
    assert not np.array_equal(painted, image)


@pytest.mark.parametrize('weather', EVERY, ids=str)
def test_views_of_an_array_give_the_same(weather):
    """A camera's BGR image turned around is a view with negative strides."""
    bgr = np.ascontiguousarray(picture()[..., ::-1])
    assert np.array_equal(weather(bgr[..., ::-1], draws()), weather(picture(), draws()))


@pytest.mark.parametrize('weather', EVERY, ids=str)
@pytest.mark.parametrize('value', [0, 255])
def test_black_and_white_images_pass(weather, value):
    painted = weather(np.full((40, 60, 3), value, np.uint8), draws())
    assert painted.shape == (40, 60, 3)
    if weather.name == 'fog' and not value:
        assert not painted.any(), 'fog never grows brighter than the image'


@pytest.mark.parametrize('name', WEATHERS)
def test_a_higher_severity_hides_more(name):
    """Correlation with the clean image falls from severity 1 to 3 to 5."""
    image = picture(240, 320) // 2 + np.random.default_rng(9).integers(0, 99, (240, 320, 1))
    image = image.astype(np.uint8)
    kept = [np.mean([np.corrcoef(Weather(name, severity)(image, draws(seed)).ravel(),
                                 image.ravel())[0, 1] for seed in range(6)])
            for severity in (1, 3, 5)]
    assert kept[0] > kept[1] > kept[2]


def test_text_and_weather_are_two_ways_to_say_the_same():
    for weather in EVERY:
        assert parse_weather(str(weather)) == weather
    assert str(Weather('fog', 3)) == 'fog:3'
    assert parse_weather('snow') == Weather('snow', 3)
    assert parse_weather(' frost:5 ') == Weather('frost', 5)


@pytest.mark.parametrize(('text', 'said'), [
    ('fgo:3', "did you mean 'fog'"), ('mud', 'fog, frost, snow, spatter'), ('', 'such as'),
    ('spater:2', "did you mean 'spatter'"), ('Snow', "did you mean 'snow'"),
    ('fog:6', '1 (slight) to 5 (heavy)'), ('fog:0', '1 (slight) to 5 (heavy)'),
    ('fog:', "'fog:' is no weather"), ('fog:x', 'fog, frost, snow, spatter'),
    ('fog:-1', 'severity of 1'), ('fog:2.5', 'such as fog:3'), ('fog:3:4', 'is no weather'),
    ('fog:²', 'is no weather'), ('fog:' + '9' * 5000, 'is no weather')])
def test_a_mistake_is_named_with_what_there_is(text, said):
    with pytest.raises(UserError) as error:
        parse_weather(text)
    assert said in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('severity', [0, 6, -1])
def test_a_severity_out_of_range_is_refused(severity):
    with pytest.raises(UserError, match=f'there is no snow of severity {severity}: choose 1'):
        Weather('snow', severity)
