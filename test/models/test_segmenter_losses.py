"""Losses of the segmenter's training against literal versions."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vseg_ros.models.segmenter_losses import soft_jaccard_loss, weighted_cross_entropy


def test_cross_entropy_is_the_weighted_mean_and_zero_without_labels() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    labels = torch.randint(0, 3, (2, 4, 5))
    labels[0, :2] = 255
    weights = torch.tensor([1.0, 2.0, 5.0])
    expected = F.cross_entropy(logits, labels, weights, ignore_index=255)
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, weights, 255), expected)
    nothing = weighted_cross_entropy(logits, torch.full_like(labels, 255), weights, 255)
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert not logits.grad.any()


def test_soft_jaccard_counts_probabilities_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 3, 5)
    labels = torch.randint(0, 3, (2, 3, 5))
    labels[0, 0] = 255
    probability = logits.softmax(1)
    scores = []
    for label in range(3):  # no pixel is of class 3
        both = union = 0.0
        for b in range(2):
            for y in range(3):
                for x in range(5):
                    if labels[b, y, x] != 255:
                        p, truth = float(probability[b, label, y, x]), labels[b, y, x] == label
                        both += p * truth
                        union += p + float(truth) - p * truth
        scores.append(float(both / union))
    expected = torch.tensor(1 - sum(scores) / 3)
    torch.testing.assert_close(soft_jaccard_loss(logits, labels, 255), expected)


def test_soft_jaccard_of_certain_answers_is_one_minus_the_mean_iou() -> None:
    labels = torch.tensor([[[0, 0, 0, 1]]])
    answer = torch.tensor([[[0, 0, 1, 1]]])
    logits = 1e4 * F.one_hot(answer, 2).movedim(-1, 1).float()
    expected = torch.tensor(1 - (2 / 3 + 1 / 2) / 2)
    torch.testing.assert_close(soft_jaccard_loss(logits, labels, 255), expected)


def test_soft_jaccard_without_labels_teaches_nothing() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = soft_jaccard_loss(logits, torch.full((1, 2, 2), 255), 255)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logits.grad.any()
