"""Which form of mVC a video is scored in."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vseg_ros.evaluation.consistency import VideoConsistency
from vseg_ros.evaluation.sparse_consistency import SparseConsistency
from vseg_ros.evaluation.video_consistency import LabelledConsistency

CLASSES = 3


def frames_of(seed, frames, labelled):
    """Make random images whose left half stands still, maps, and labels where asked for."""
    generator = np.random.default_rng(seed)
    base = generator.integers(0, 256, (6, 8, 3), np.uint8)
    made = []
    for index in range(frames):
        image = base.copy()
        image[:, 4:] = generator.integers(0, 256, (6, 4, 3), np.uint8)
        predictions = np.where(generator.random((6, 8)) < 0.05, 1, 0).astype(np.uint8)
        labels = np.where(generator.random((6, 8)) < 0.05, 2, 0).astype(np.uint8)
        made.append((image, predictions, labels if labelled(index) else None))
    return made


def every_frame(index):
    return True


def one_in_ten(index):
    return index % 10 == 4


def no_frame(index):
    return False


def score(*videos):
    consistency = LabelledConsistency(CLASSES)
    for video in videos:
        for frame in video:
            consistency.add(*frame)
        consistency.end_video()
    return consistency


def test_a_video_labelled_throughout_is_dense():
    video = frames_of(0, 30, every_frame)
    dense = VideoConsistency()
    for _, predictions, labels in video:
        dense.add(predictions, labels)
    consistency = score(video)
    assert consistency.form == 'dense'
    assert [consistency.score(n) for n in (8, 16)] == [dense.score(n) for n in (8, 16)]
    assert 0 < consistency.score(8) < 1


@pytest.mark.parametrize('labelled', [one_in_ten, lambda index: index != 29,
                                      lambda index: index != 0])
def test_a_video_with_a_frame_without_labels_is_sparse(labelled):
    video = frames_of(1, 30, labelled)
    sparse = SparseConsistency(CLASSES)
    for frame in video:
        sparse.add(*frame)
    consistency = score(video)
    assert consistency.form == 'sparse'
    assert [consistency.score(n) for n in (8, 16)] == [sparse.score(n) for n in (8, 16)]
    assert 0 < consistency.score(8) < 1


def test_videos_of_both_kinds_are_scored_each_in_its_form():
    dense, sparse = frames_of(2, 12, every_frame), frames_of(3, 14, one_in_ten)
    consistency = score(dense, sparse, frames_of(4, 20, no_frame))
    assert consistency.form == 'mixed'
    # 12 frames have 4 windows of 8 that do not end with the video; the other has one reference.
    expected = (4 * score(dense).score(8) + score(sparse).score(8)) / 5
    assert consistency.score(8) == pytest.approx(expected)


def test_without_labels_there_is_no_form():
    consistency = score(frames_of(5, 20, no_frame))
    assert consistency.form is None
    assert math.isnan(consistency.score(8))
