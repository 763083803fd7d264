from __future__ import annotations

import numpy as np
import torch

from vseg_ros.labels import DRIVING
from vseg_ros.models.augmentation import LabelledImage
from vseg_ros.models.calibration import best_offsets, calibrate, gather_logits, mean_iou
from vseg_ros.models.segformer import new_segformer


def test_mean_iou_is_that_of_the_sets() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(4, 300)).astype(np.float32)
    labels = random.integers(0, 3, 300).astype(np.uint8)
    found = scores.argmax(0)
    literal = [((found == c) & (labels == c)).sum() / ((found == c) | (labels == c)).sum()
               for c in range(3)]
    assert np.isclose(mean_iou(scores, labels), np.mean(literal))


def test_a_class_that_is_found_too_often_is_turned_down() -> None:
    random = np.random.default_rng(1)
    labels = (random.random(4000) < 0.05).astype(np.uint8)
    scores = random.normal(size=(3, 4000)).astype(np.float32)
    scores[labels, np.arange(4000)] += 2
    scores[2] -= 9
    scores[1] += 2
    offsets = best_offsets(scores, labels)
    assert offsets[1] < offsets[0]
    assert offsets[2] == 0
    assert mean_iou(scores + offsets[:, None], labels) > mean_iou(scores, labels) + 0.05


def test_calibration_changes_the_bias_alone_and_ignores_unlabelled_pixels() -> None:
    torch.manual_seed(0)
    segmenter = new_segformer(DRIVING).eval()
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    random = np.random.default_rng(2)
    labels = np.full((64, 96), 255, np.uint8)
    labels[:, :48] = random.integers(0, 3, (64, 48))
    image = LabelledImage(random.integers(0, 255, (64, 96, 3)).astype(np.uint8), labels)
    logits, seen = gather_logits(segmenter, [image])
    assert logits.shape == (15, 16 * 12)
    assert seen.max() < 3
    offsets = calibrate(segmenter, [image])
    changed = [name for name, value in segmenter.state_dict().items()
               if not torch.equal(value, before[name])]
    assert changed == ['decoder.head.classifier.bias']
    moved = segmenter.state_dict()[changed[0]] - before[changed[0]]
    np.testing.assert_allclose(moved.numpy(), offsets, atol=1e-6)
