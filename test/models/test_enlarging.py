"""Enlarged labels, mixed where neighbours disagree and mixed everywhere, against plain torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from vseg_ros.models import enlarging
from vseg_ros.models.enlarging import (
    best_class,
    enlarge_labels,
    enlarge_labels_everywhere,
    neighbours,
)
from vseg_ros.models.reliability import upsample

SmoothLogits = Callable[[int, int, int], Tensor]

SIZES = [(360, 640), (97, 131), (96, 128), (64, 96), (65, 200), (20, 11), (8, 8), (1, 1)]
"""Larger than the input of 64x96, enlarged along one side only, as large, and smaller."""


def labels_of(logits: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, Tensor]:
    """Return labels, uint8, and scores of resized logits, spelled out."""
    scores = upsample(logits, size)[0]
    return scores.argmax(0).numpy().astype(np.uint8), scores


def clear(scores: Tensor) -> np.ndarray:
    """Tell the pixels whose label no rounding can change, bool [H, W]."""
    best_two = scores.topk(2, 0).values
    found: np.ndarray = (best_two[0] - best_two[1] > 1e-4).numpy()
    assert found.mean() > 0.99
    return found


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('cells', [(16, 24), (64, 96)])
def test_labels_are_those_of_resized_scores(smooth_logits: SmoothLogits, size: tuple[int, int],
                                            cells: tuple[int, int]) -> None:
    """Scores are logits, resized first to the size of the labels, then to that of the frame."""
    logits = smooth_logits(6, *cells)
    labels, scores = labels_of(logits, (64, 96))
    literal = upsample(upsample(logits.double(), (64, 96)), size)[0]
    expected, sure = literal.argmax(0).numpy(), clear(literal)
    everywhere = enlarge_labels_everywhere(scores, size, torch.uint8).numpy()
    for found in (enlarge_labels(logits, labels, size), everywhere):
        assert found.shape == size
        assert found.dtype == np.uint8
        assert (found == expected)[sure].all()


def test_three_hundred_classes(smooth_logits: SmoothLogits) -> None:
    logits = smooth_logits(300, 8, 12)
    scores = upsample(logits, (32, 48))
    labels = scores[0].argmax(0).to(torch.int16).numpy()
    literal = upsample(scores.double(), (64, 90))[0]
    everywhere = enlarge_labels_everywhere(scores[0], (64, 90), torch.int16).numpy()
    for found in (enlarge_labels(logits, labels, (64, 90)), everywhere):
        assert found.dtype == np.int16
        assert found.max() > 255
        assert (found == literal.argmax(0).numpy())[clear(literal)].all()


def test_rows_that_are_worked_on_together_do_not_matter(
        smooth_logits: SmoothLogits, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = smooth_logits(6, 24, 36)[0]
    whole = enlarge_labels_everywhere(scores, (100, 150), torch.uint8)
    monkeypatch.setattr(enlarging, '_GPU_BYTES', 6 * 150 * 4 * 7)
    assert torch.equal(enlarge_labels_everywhere(scores, (100, 150), torch.uint8), whole)


def test_one_label_everywhere() -> None:
    logits = torch.zeros(1, 3, 4, 5)
    logits[:, 1] = 1
    labels = np.ones((16, 20), np.uint8)
    np.testing.assert_array_equal(enlarge_labels(logits, labels, (40, 40)),
                                  np.ones((40, 40), np.uint8))


def test_the_labels_given_stay_as_they_are(smooth_logits: SmoothLogits) -> None:
    logits = smooth_logits(6, 12, 16)
    labels, _ = labels_of(logits, (12, 16))
    before = labels.copy()
    enlarge_labels(logits, labels, (12, 16))
    np.testing.assert_array_equal(labels, before)


def test_neighbours_of_a_pixel() -> None:
    first, mixed = neighbours(np.array([[1, 1, 2], [1, 1, 2]], np.uint8), (4, 6))
    assert first.tolist() == [[1, 1, 1, 1, 1, 2]] * 4
    assert mixed.tolist() == [[False, False, False, True, True, False]] * 4


def test_best_class_is_the_first_of_equals() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0], [2.0, 3.0, 2.0], [2.0, 1.0, 2.0]])
    assert best_class(scores, torch.uint8).tolist() == scores.argmax(0).tolist() == [1, 0, 0]
