"""COCO's masks: run lengths and polygons, against literal loops."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vseg_ros.datasets.coco_rle import decode_polygons, decode_rle, encode_rle


def literal_decode(text, height, width):
    """Read the numbers character by character, then paint run by run down the columns."""
    runs, place = [], 0
    while place < len(text):
        number = shift = 0
        more = True
        while more:
            group = ord(text[place]) - 48
            number |= (group & 31) << shift
            shift += 5
            more = bool(group & 32)
            place += 1
            if not more and group & 16:
                number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
    mask = np.zeros((height, width), bool)
    pixel, inside = 0, False
    for run in runs:
        for _ in range(run):
            mask[pixel % height, pixel // height] = inside
            pixel += 1
        inside = not inside
    assert pixel == height * width
    return mask


def literal_polygon(corners, height, width):
    """Walk the outline on a grid five times finer; toggle the rest of the mask at crossings."""
    grid = [(int(5 * x + 0.5), int(5 * y + 0.5)) for x, y in corners]
    points = []
    for (x0, y0), (x1, y1) in zip(grid, grid[1:] + grid[:1], strict=True):
        across, down = abs(x1 - x0), abs(y1 - y0)
        flat = across >= down
        back = x0 > x1 if flat else y0 > y1
        (ax, ay), (bx, by) = ((x1, y1), (x0, y0)) if back else ((x0, y0), (x1, y1))
        edge = []
        for step in range((across if flat else down) + 1):
            if flat:
                slope = (by - ay) / across if across else 0.0
                edge.append((ax + step, int(ay + slope * step + 0.5)))
            else:
                edge.append((int(ax + (bx - ax) / down * step + 0.5), ay + step))
        points += edge[::-1] if back else edge
    toggles = [0] * (height * width + 1)
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 == x1:
            continue
        column = (min(x0, x1) + 0.5) / 5 - 0.5
        if column != math.floor(column) or not 0 <= column <= width - 1:
            continue
        row = math.ceil(min(max((min(y0, y1) + 0.5) / 5 - 0.5, 0), height))
        toggles[int(column) * height + row] += 1
    mask, inside = np.zeros((height, width), bool), False
    for pixel in range(height * width):
        inside ^= bool(toggles[pixel] % 2)
        mask[pixel % height, pixel // height] = inside
    return mask


def masks():
    return st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2 ** 32 - 1),
                     st.sampled_from([0.0, 0.1, 0.5, 1.0])).map(
        lambda drawn: np.random.default_rng(drawn[2]).random(drawn[:2]) < drawn[3])


@given(masks())
def test_a_mask_comes_back(mask):
    rle = encode_rle(mask)
    assert rle['size'] == list(mask.shape)
    assert np.array_equal(decode_rle(rle), mask)
    assert np.array_equal(literal_decode(rle['counts'], *mask.shape), mask)
    assert np.array_equal(decode_rle({**rle, 'counts': rle['counts'].encode()}), mask)


def test_long_runs_and_falling_runs():
    mask = np.zeros((300, 400), bool)
    mask[20:280, 30:350] = True
    mask[100:110, 100:300] = False
    rle = encode_rle(mask)
    assert np.array_equal(literal_decode(rle['counts'], 300, 400), mask)
    assert np.array_equal(decode_rle(rle), mask)


def test_a_string_of_cocos_own_tools():
    # Three columns of four: the middle two pixels of the second one.
    mask = np.zeros((4, 3), bool)
    mask[1:3, 1] = True
    assert encode_rle(mask) == {'size': [4, 3], 'counts': '525'}
    assert np.array_equal(decode_rle({'size': [4, 3], 'counts': [5, 2, 5]}), mask)


@pytest.mark.parametrize('rle', [
    {'size': [4, 3]}, {'size': [4, 3], 'counts': ''}, {'size': [4, 3], 'counts': '52'},
    {'size': [4, 3], 'counts': '5\x002'}, {'size': [4, 3], 'counts': '52U'},
    {'size': [4, 3], 'counts': 'é'}, {'size': [4, 4], 'counts': '525'}, {'size': 3, 'counts': '5'},
    {'size': [4, 3], 'counts': [13, -1]}, {'size': [4, 3], 'counts': 'o' * 9 + '0'}])
def test_damage_is_told(rle):
    with pytest.raises(ValueError, match='run'):
        decode_rle(rle)


def test_polygons_are_drawn_by_cocos_rule():
    rng = np.random.default_rng(5)
    for _ in range(60):
        height, width = rng.integers(1, 24, 2).tolist()
        corners = (rng.random((int(rng.integers(3, 8)), 2)) * [width + 4, height + 4] - 2).round(1)
        drawn = decode_polygons([corners.ravel().tolist()], height, width)
        assert np.array_equal(drawn, literal_polygon(corners.tolist(), height, width))


def test_a_box_covers_its_pixels_and_several_polygons_their_union():
    drawn = decode_polygons([[2, 1, 5, 1, 5, 4, 2, 4], [6, 1, 7, 1, 7, 2, 6, 2]], 6, 8)
    wanted = np.zeros((6, 8), bool)
    wanted[1:4, 2:5] = True
    wanted[1, 6] = True
    assert np.array_equal(drawn, wanted)


@pytest.mark.parametrize('polygon', [[], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [[1, 2], [3, 4]]])
def test_a_polygon_needs_three_corners(polygon):
    with pytest.raises(ValueError, match='coordinates'):
        decode_polygons([polygon], 4, 4)
