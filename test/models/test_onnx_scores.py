"""Labels and reliability of an exported step against those of the pipelines."""

from __future__ import annotations

import torch

from vseg_ros.models.labelling import score_pixels
from vseg_ros.models.onnx_scores import label_and_reliability
from vseg_ros.models.reliability import reliability, upsample


def test_labels_and_reliability_are_those_of_the_pipelines() -> None:
    scores = 5 * torch.randn(1, 7, 9, 12, generator=torch.Generator().manual_seed(0))
    labels, sure = label_and_reliability(scores, (36, 48))
    expected = score_pixels(scores, (36, 48))
    assert labels.dtype == torch.uint8
    assert (labels == expected.labels).float().mean() > 0.999
    torch.testing.assert_close(sure, expected.reliability, rtol=0, atol=1e-5)
    literal = reliability(upsample(scores, (36, 48)).log_softmax(1))[0]
    torch.testing.assert_close(sure, literal, rtol=0, atol=1e-5)


def test_scores_that_are_far_apart_stay_finite() -> None:
    scores = torch.tensor([1e4, 0.0, -1e4]).view(1, 3, 1, 1).expand(1, 3, 2, 2).clone()
    scores[0, :, 0, 0] = 0
    sure = label_and_reliability(scores, (2, 2))[1]
    torch.testing.assert_close(sure, torch.tensor([[0.0, 1.0], [1.0, 1.0]]), rtol=0, atol=1e-6)
