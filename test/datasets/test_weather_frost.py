from __future__ import annotations

import cv2
import numpy as np
import pytest

from vseg_ros.datasets import weather_frost
from vseg_ros.datasets.weather_frost import _PANES, draw_ferns, fern_lines, frost, grow_ice

# What the published benchmark with its photographs makes of `picture()`: mean of red, green and
# blue, standard deviation of grey, mean absolute Laplacian of grey; over 50 draws.
PUBLISHED = {1: (146.0, 144.7, 153.4, 33.3, 8.6), 2: (156.5, 161.5, 171.9, 27.6, 12.8),
             3: (161.7, 169.8, 181.1, 25.5, 14.9), 4: (157.3, 165.9, 176.9, 24.2, 14.9),
             5: (159.9, 170.1, 181.6, 23.5, 16.0)}
WEIGHTS = {1: (1, 0.4), 2: (0.8, 0.6), 3: (0.7, 0.7), 4: (0.65, 0.7), 5: (0.6, 0.75)}


def picture():
    rows, columns = np.mgrid[:360, :480]
    return np.stack([rows / 2, columns / 3, (rows + columns) / 5], -1).astype(np.uint8)


def measure(image):
    grey = image.astype(np.float32).mean(-1)
    sharp = np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean()
    return np.array([*image.mean((0, 1)), grey.std(), sharp])


@pytest.mark.parametrize('severity', range(1, 6))
def test_frost_has_the_strength_of_the_published_photographs(monkeypatch, severity):
    found = []
    for pane in _PANES:
        monkeypatch.setattr(weather_frost, '_PANES', (pane,))
        found += [measure(frost(picture(), severity, np.random.default_rng((0, seed))))
                  for seed in range(2)]
    red, green, blue, deviation, sharp = np.mean(found, 0)
    expected = PUBLISHED[severity]
    assert (red, green, blue) == pytest.approx(expected[:3], abs=5)
    assert deviation == pytest.approx(expected[3], rel=0.2)
    assert sharp == pytest.approx(expected[4], rel=0.15)


@pytest.mark.parametrize('severity', range(1, 6))
def test_weights_are_the_published_ones(severity):
    """The same pane over two images differs by the image's weight alone."""
    dark, light = (frost(np.full((60, 80, 3), value, np.uint8), severity, np.random.default_rng(6))
                   for value in (0, 40))
    of_image, of_pane = WEIGHTS[severity]
    assert np.abs(light.astype(float) - dark - 40 * of_image).max() <= 1
    kind = _PANES[np.random.default_rng(6).integers(5)]
    assert dark.mean((0, 1)) == pytest.approx(of_pane * np.array(kind.colour), abs=2)
    assert dark.mean(-1).std() == pytest.approx(of_pane * kind.deviation, rel=0.05)


def test_every_pane_is_drawn():
    images = [frost(np.zeros((8, 8, 3), np.uint8), 5, np.random.default_rng((0, seed)))
              for seed in range(40)]
    colours = {tuple(np.round(image.mean((0, 1)) / 40)) for image in images}
    assert len(colours) >= 4


@pytest.mark.parametrize('size', [(360, 480), (200, 90), (720, 1280), (3, 5)])
@pytest.mark.parametrize('kind', set(_PANES))
def test_ice_is_standardised(size, kind):
    ice = grow_ice(size, kind, np.random.default_rng(0))
    assert (ice.shape, ice.dtype) == (size, np.float32)
    assert ice.mean() == pytest.approx(0, abs=1e-3)
    assert ice.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize('kind', set(_PANES))
def test_ferns_stand_out_bright_or_dark(kind):
    alone = kind._replace(haze=0, grain=0)
    ice = grow_ice((60, 80), alone, np.random.default_rng(2))
    ferns = draw_ferns((60, 80), np.random.default_rng(2))
    likeness = np.corrcoef(ice.ravel(), ferns.ravel())[0, 1]
    assert likeness == pytest.approx(-1 if kind.dark else 1)
    assert kind.dark == (kind.colour[0] > 200), 'dark on the white pane alone'


def test_a_larger_image_gets_larger_ice():
    """Half the detail a pixel at twice the size."""
    small, large = (np.abs(np.diff(grow_ice(size, _PANES[-1], np.random.default_rng(0)))).mean()
                    for size in ((480, 640), (960, 1280)))
    assert large < 0.75 * small


def test_barbs_stand_on_both_sides_of_their_stem():
    ferns = fern_lines((100, 200), 30, np.random.default_rng(0)) / 16
    assert ferns.shape == (30, 41, 2, 2)
    for lines in ferns:
        root, tip = lines[0]
        stem = tip - root
        length = np.hypot(*stem)
        assert 11.9 <= length <= 70.1
        assert 0 <= root[0] <= 200
        assert 0 <= root[1] <= 100
        joints, ends = lines[1:, 0] - root, lines[1:, 1] - root
        across = (stem[0] * ends[:, 1] - stem[1] * ends[:, 0]) / length
        beside = (stem[0] * joints[:, 1] - stem[1] * joints[:, 0]) / length
        assert np.abs(beside).max() < 0.15, 'barbs start on the stem'
        assert (across[:20] <= 0.15).all()
        assert (across[20:] >= -0.15).all()
        assert across[0] < -0.5
        assert across[20] > 0.5
        assert (ends @ stem / length <= length + 0.2).all(), 'no barb reaches beyond the tip'
