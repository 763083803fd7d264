"""mIoU, wIoU and IoU against definitions written out pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vseg_ros.evaluation.confusion import ConfusionMatrix

CLASSES = 4
IDS = st.sampled_from([0, 1, 2, 3, 4, 9, 255])
MAPS = hnp.arrays(np.uint8, (3, 4, 5), elements=IDS)


def slow_iou(predictions, labels):
    """Count pixel by pixel: intersection, union and true pixels of every class."""
    hits, unions, truths = [0] * CLASSES, [0] * CLASSES, [0] * CLASSES
    for predicted, true in zip(predictions.ravel(), labels.ravel(), strict=True):
        if true >= CLASSES:
            continue
        truths[true] += 1
        unions[true] += 1
        if predicted == true:
            hits[true] += 1
        elif predicted < CLASSES:
            unions[predicted] += 1
    iou = [hit / union if union else math.nan for hit, union in zip(hits, unions, strict=True)]
    return iou, truths


def counted(predictions, labels):
    matrix = ConfusionMatrix(CLASSES)
    for predicted, true in zip(predictions, labels, strict=True):
        matrix.add(predicted, true)
    return matrix


@given(MAPS, MAPS)
def test_equals_counting_pixel_by_pixel(predictions, labels):
    matrix = counted(predictions, labels)
    iou, truths = slow_iou(predictions, labels)
    present = [i for i in range(CLASSES) if truths[i]]
    miou = sum(iou[i] for i in present) / len(present) if present else math.nan
    wiou = sum(iou[i] * truths[i] / sum(truths) for i in present) if present else math.nan
    np.testing.assert_allclose(matrix.iou(), iou, rtol=1e-12)
    np.testing.assert_allclose([matrix.miou(), matrix.wiou()], [miou, wiou], rtol=1e-12)
    assert matrix.present.tolist() == [bool(count) for count in truths]
    assert matrix.counts.sum() == sum(truths)


def test_a_class_that_is_only_predicted_is_not_averaged():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([[0, 2]], np.uint8), np.array([[0, 0]], np.uint8))
    assert matrix.miou() == 0.5
    assert matrix.iou()[2] == 0
    assert math.isnan(matrix.iou()[1])


def test_unlabelled_predictions_count_as_wrong():
    matrix = ConfusionMatrix(2)
    matrix.add(np.array([[0, 255]], np.uint8), np.array([[0, 0]], np.uint8))
    assert matrix.miou() == 0.5


def test_more_classes_than_a_byte_holds():
    labels = np.array([[0, 299, 300]], np.uint16)
    matrix = ConfusionMatrix(300)
    matrix.add(labels, labels)
    assert matrix.counts.sum() == 2
    assert matrix.miou() == 1


def test_without_a_labelled_pixel_there_is_no_score():
    matrix = ConfusionMatrix(2)
    matrix.add(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8))
    assert math.isnan(matrix.miou())
    assert math.isnan(matrix.wiou())


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='differ in size'):
        ConfusionMatrix(2).add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
