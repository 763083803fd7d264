from __future__ import annotations

from math import ceil, cos, exp, radians, sin

import numpy as np
import pytest

from vseg_ros.datasets.weather_snow import _PARAMETERS, enlarged_noise, smear, snow

PUBLISHED = [(0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
             (0.55, 0.3, 4, 0.9, 12, 8, 0.7), (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
             (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55)]
SIZE = 22, 29


def literal_noise(kind, random):
    """Linear interpolation from corner to corner, pixel by pixel."""
    mean, deviation, zoom = kind[:3]
    cells = ceil(SIZE[0] / zoom), ceil(SIZE[1] / zoom)
    noise = random.standard_normal(cells, np.float32) * deviation + mean
    large = np.empty((round(cells[0] * zoom), round(cells[1] * zoom)))
    for y, x in np.ndindex(*large.shape):
        row = y * (cells[0] - 1) / (large.shape[0] - 1)
        column = x * (cells[1] - 1) / (large.shape[1] - 1)
        value = 0.0
        for i, j in np.ndindex(*cells):
            value += noise[i, j] * max(0, 1 - abs(i - row)) * max(0, 1 - abs(j - column))
        large[y, x] = value
    return large


def literal_smear(layer, radius, sigma, angle):
    height, width = layer.shape
    weights = [exp(-i * i / (2 * sigma * sigma)) for i in range(2 * radius + 1)]
    smeared = np.zeros_like(layer)
    for y, x in np.ndindex(height, width):
        for step, weight in enumerate(weights):
            row = y + ceil(step * sin(radians(angle)) - 0.5)
            column = x + ceil(step * cos(radians(angle)) - 0.5)
            smeared[y, x] += weight / sum(weights) * layer[
                min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    return smeared


def test_parameters_are_the_published_ones():
    assert [tuple(kind) for kind in _PARAMETERS] == PUBLISHED


@pytest.mark.parametrize('kind', _PARAMETERS)
def test_noise_is_enlarged_linearly(kind):
    ours = enlarged_noise(SIZE, kind, np.random.default_rng(2))
    assert ours == pytest.approx(literal_noise(kind, np.random.default_rng(2)), abs=1e-5)


@pytest.mark.parametrize('angle', [-135, -100.3, -90, -61.7, -45])
def test_smear_draws_flakes_along_a_line(angle):
    layer = np.random.default_rng(3).random(SIZE, np.float32)
    ours = smear(layer, 5, 4, angle)
    assert ours.dtype == np.float32
    assert ours == pytest.approx(literal_smear(layer, 5, 4, angle), abs=1e-5)


def test_flakes_fall_down():
    layer = np.zeros((40, 41), np.float32)
    layer[10, 20] = 1
    tail = smear(layer, 10, 8, -90)
    assert tail[10:31, 20].all()
    assert np.count_nonzero(tail) == 21


@pytest.mark.parametrize('severity', range(1, 6))
def test_snow_is_the_published_formula(severity):
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    _, _, _, threshold, radius, sigma, clear = kind = PUBLISHED[severity - 1]
    random = np.random.default_rng(5)
    noise = literal_noise(kind, random)
    flakes = np.where(noise < threshold, 0, np.clip(noise, 0, 1))
    flakes = literal_smear(flakes, radius, sigma, random.uniform(-135, -45))
    flakes = np.round(flakes * 255)[:SIZE[0], :SIZE[1]]
    expected = np.empty(image.shape)
    for y, x, channel in np.ndindex(*image.shape):
        grey = image[y, x] @ np.array([0.299, 0.587, 0.114])
        value = float(image[y, x, channel])
        value = clear * value + (1 - clear) * max(value, grey * 1.5 + 127.5)
        turned = flakes[SIZE[0] - 1 - y, SIZE[1] - 1 - x]
        expected[y, x, channel] = min(255, value + flakes[y, x] + turned)
    painted = snow(image, severity, np.random.default_rng(5))
    difference = np.abs(painted - (expected - 0.5))
    # Fractions are cut off; a flake's brightness on the verge of two numbers may fall to either.
    assert difference.max() < 1.6
    assert (difference > 0.5 + 1e-3).mean() < 0.005
