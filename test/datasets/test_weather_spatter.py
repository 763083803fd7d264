from __future__ import annotations

from math import exp

import numpy as np
import pytest

from vseg_ros.datasets.weather_spatter import (
    _PARAMETERS,
    gaussian,
    mud_cover,
    spatter,
    water_light,
)

PUBLISHED = [(0.65, 0.3, 4, 0.69, 0.6, 0), (0.65, 0.3, 3, 0.68, 0.6, 0),
             (0.65, 0.3, 2, 0.68, 0.5, 0), (0.65, 0.3, 1, 0.65, 1.5, 1),
             (0.67, 0.4, 1, 0.65, 1.5, 1)]
SIZE = 24, 33


def literal_gaussian(field, sigma):
    radius = int(4 * sigma + 0.5)
    weights = [exp(-i * i / (2 * sigma * sigma)) for i in range(-radius, radius + 1)]
    smooth = np.zeros(field.shape)
    height, width = field.shape
    for y, x in np.ndindex(height, width):
        for i, down in enumerate(weights, -radius):
            for j, right in enumerate(weights, -radius):
                smooth[y, x] += down * right * field[min(max(y + i, 0), height - 1),
                                                     min(max(x + j, 0), width - 1)]
    return smooth / sum(weights)**2


def liquid_of(severity, size=(120, 160)):
    kind = _PARAMETERS[severity - 1]
    noise = np.random.default_rng(1).standard_normal(size, np.float32)
    liquid = gaussian(noise * np.float32(kind.deviation) + np.float32(kind.mean), kind.size)
    return np.where(liquid < kind.threshold, 0, liquid).astype(np.float32), kind


def test_parameters_are_the_published_ones():
    assert [tuple(kind) for kind in _PARAMETERS] == PUBLISHED


@pytest.mark.parametrize('sigma', [1, 1.5, 2])
def test_noise_is_smoothed_by_a_gaussian_cut_off_at_4_sigma(sigma):
    field = np.random.default_rng(0).random(SIZE, np.float32)
    assert gaussian(field, sigma) == pytest.approx(literal_gaussian(field, sigma), abs=1e-5)


@pytest.mark.parametrize('severity', [4, 5])
def test_mud_is_the_published_formula(severity):
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    mean, deviation, size, threshold, rounding, _ = PUBLISHED[severity - 1]
    noise = np.random.default_rng(5).standard_normal(SIZE, np.float32)
    liquid = literal_gaussian(noise * deviation + mean, size)
    cover = literal_gaussian((liquid > threshold).astype(float), rounding)
    expected = np.empty(image.shape)
    for y, x, channel in np.ndindex(*image.shape):
        hidden = cover[y, x] if cover[y, x] >= 0.8 else 0
        mud = (63, 42, 20)[channel]
        expected[y, x, channel] = image[y, x, channel] * (1 - hidden) + mud * hidden
    painted = spatter(image, severity, np.random.default_rng(5))
    # Fractions are cut off.
    assert np.abs(painted - (expected - 0.5)).max() <= 0.5 + 1e-3
    assert (cover >= 0.8).any()


@pytest.mark.parametrize('severity', [1, 2, 3])
def test_water_adds_turquoise_light_where_drops_are(severity):
    liquid, kind = liquid_of(severity)
    light = water_light(liquid, kind.strength)
    assert light.min() == 0
    assert light.max() == pytest.approx(kind.strength)
    assert (light > 0).any()
    assert not light[liquid == 0].any()
    grey = np.full((120, 160, 3), 50, np.uint8)
    painted = spatter(grey, severity, np.random.default_rng(1))
    expected = 50 + light[..., None] * np.array([175, 238, 238])
    assert np.abs(painted - np.minimum(expected - 0.5, 254.5)).max() <= 0.5 + 1e-3


def test_a_drop_is_shaded_on_one_side():
    """Light grows with the distance from the rim towards the lower right."""
    liquid = np.zeros((80, 80), np.float32)
    rows, columns = np.mgrid[:80, :80]
    liquid[(rows - 40)**2 + (columns - 40)**2 < 15**2] = 0.75
    light = water_light(liquid, 1)
    upper_left = light[(rows + columns < 74) & (liquid > 0)].mean()
    lower_right = light[(rows + columns > 86) & (liquid > 0)].mean()
    assert upper_left != pytest.approx(lower_right, rel=0.2)
    assert np.abs(light - light.T).max() < 0.05 * light.max()


def test_without_a_drop_there_is_no_light():
    assert not water_light(np.zeros((12, 12), np.float32), 0.6).any()


def test_mud_is_thick_or_not_there():
    liquid, kind = liquid_of(5)
    cover = mud_cover(liquid, kind)
    assert cover.max() <= 1 + 1e-6
    assert cover[cover > 0].min() >= 0.8
    assert 0.02 < (cover > 0).mean() < 0.5
