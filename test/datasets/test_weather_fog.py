from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.datasets.weather_fog import fog, plasma

PUBLISHED = {1: (1.5, 2), 2: (2, 2), 3: (2.5, 1.7), 4: (2.5, 1.5), 5: (3, 1.4)}


DIAGONAL = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
STRAIGHT = [(-1, 0), (1, 0), (0, -1), (0, 1)]


def literal_plasma(side, decay, random):
    """Diamond-square on a torus, point by point."""
    heights = np.zeros((side, side))
    half, wobble = side // 2, 100.0
    while half:
        for down, right, neighbours in ((half, half, DIAGONAL), (0, half, STRAIGHT),
                                        (half, 0, STRAIGHT)):
            chance = random.random((side // (2 * half),) * 2, np.float32) * 2 - 1
            for (row, column), value in np.ndenumerate(chance):
                y, x = 2 * half * row + down, 2 * half * column + right
                around = [heights[(y + a * half) % side, (x + b * half) % side]
                          for a, b in neighbours]
                heights[y, x] = sum(around) / 4 + wobble * wobble * value
        half, wobble = half // 2, wobble / decay
    return (heights - heights.min()) / (heights.max() - heights.min())


@pytest.mark.parametrize('side', [2, 4, 32])
@pytest.mark.parametrize('decay', [2, 1.4])
def test_plasma_is_diamond_square(side, decay):
    ours = plasma(side, decay, np.random.default_rng(1))
    assert ours.dtype == np.float32
    assert (ours.min(), ours.max()) == (0, 1)
    assert ours == pytest.approx(literal_plasma(side, decay, np.random.default_rng(1)), abs=1e-5)


@pytest.mark.parametrize('severity', range(1, 6))
def test_fog_is_the_published_formula(severity):
    image = np.random.default_rng(0).integers(0, 201, (20, 31, 3)).astype(np.uint8)
    weight, decay = PUBLISHED[severity]
    cloud = literal_plasma(32, decay, np.random.default_rng(5))
    expected = np.empty(image.shape)
    brightest = max(image.ravel()) / 255
    for place in np.ndindex(*image.shape):
        veiled = image[place] / 255 + weight * cloud[place[:2]]
        expected[place] = 255 * min(1, veiled * brightest / (brightest + weight))
    painted = fog(image, severity, np.random.default_rng(5))
    # Fractions are cut off.
    assert np.abs(painted - (expected - 0.5)).max() <= 0.5 + 1e-3
