"""Objects of a label map: components pixel by pixel, and painting."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from vseg_ros.baselines.objects import (
    NO_OBJECT,
    DetectedObject,
    detect_objects,
    paint_classes,
)


def literal_objects(labels: np.ndarray, confidence: np.ndarray, least: int,
                    ) -> set[tuple[int, float, frozenset[tuple[int, int]]]]:
    """Flood every class over its eight neighbours."""
    height, width = labels.shape
    seen, found = set(), set()
    for start in np.ndindex(height, width):
        if start in seen:
            continue
        region, waiting = {start}, deque([start])
        while waiting:
            row, column = waiting.popleft()
            for near in ((row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
                if (0 <= near[0] < height and 0 <= near[1] < width and near not in region
                        and labels[near] == labels[start]):
                    region.add(near)
                    waiting.append(near)
        seen |= region
        if len(region) >= least:
            best = max(float(confidence[place]) for place in region)
            found.add((int(labels[start]), best, frozenset(region)))
    return found


@pytest.mark.parametrize('least', [1, 4, 20])
def test_objects_are_8_connected_components(least: int) -> None:
    generator = np.random.default_rng(least)
    labels = generator.integers(0, 4, (16, 20), dtype=np.uint8)
    confidence = generator.random((16, 20), dtype=np.float32)
    found = detect_objects(labels, confidence, least / labels.size)
    ours = {(each.label, each.score, frozenset(map(tuple, np.argwhere(each.mask).tolist())))
            for each in found}
    assert ours == literal_objects(labels, confidence, least)
    assert len(ours) == len(found) > 0


def test_the_higher_score_is_painted_over_the_lower() -> None:
    first = np.zeros((3, 4), np.bool_)
    first[:, :3] = True
    second = np.zeros((3, 4), np.bool_)
    second[1:, 2:] = True
    objects = {1: DetectedObject(0, 0.9, first), 2: DetectedObject(5, 0.4, second)}
    painted = paint_classes({1: first, 2: second}, objects, (3, 4))
    assert painted.tolist() == [[0, 0, 0, NO_OBJECT], [0, 0, 0, 5], [0, 0, 0, 5]]
    objects[2] = DetectedObject(5, 0.95, second)
    painted = paint_classes({1: first, 2: second}, objects, (3, 4))
    assert painted.tolist() == [[0, 0, 0, NO_OBJECT], [0, 0, 5, 5], [0, 0, 5, 5]]


def test_without_objects_nothing_is_painted() -> None:
    assert (paint_classes({}, {}, (2, 3)) == NO_OBJECT).all()
    assert detect_objects(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.float32), 1.0)
