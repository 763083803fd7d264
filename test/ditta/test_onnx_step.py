"""The exported step, before it is exported, against the frozen stage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from vseg_ros.ditta.frozen import FrozenFusion
from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.onnx_step import DittaStep
from vseg_ros.frame import Frame
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.settings import FusionSettings

CELLS = 16, 24
Video = Callable[..., list[Frame]]
Parts = tuple[ImageSegmenter, DittaModel]


@pytest.fixture
def parts(tiny_segmenter: Callable[..., ImageSegmenter]) -> Parts:
    segmenter = tiny_segmenter().requires_grad_(False)
    return segmenter, DittaModel(segmenter.decoder, 2).eval().requires_grad_(False)


def first_state(width: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Garbage, which must not be listened to."""
    places = CELLS[0] * CELLS[1]
    logits = torch.arange(places * classes).view(places, -1) % 5.0
    return torch.full((places, width), 7.0), logits, torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize('fixed', [True, False], ids=['fixed', 'free'])
@pytest.mark.parametrize('memory', ['fused', 'plain'])
@pytest.mark.parametrize('tau', [0.5, 0.8, 1.0])
def test_a_stream_is_that_of_the_frozen_stage(parts: Parts, video: Video, tau: float, memory: str,
                                              fixed: bool) -> None:
    segmenter, model = parts
    settings = FusionSettings(tau=tau, radius=2, memory=memory)
    step = DittaStep(segmenter, model, settings, CELLS if fixed else None).eval()
    runtime = TorchRuntime(segmenter, torch.device('cpu'))
    fusion = FrozenFusion(model.addon.fold(), settings)
    state = first_state(model.addon.query_layer[0].in_features, len(segmenter.label_set))
    listened = 0.0
    for frame in video(4):
        decoded = runtime.infer(frame.image)
        expected = fusion.step(decoded, frame.size)
        with torch.no_grad():
            labels, confidence, scores, *state = step(torch.tensor(frame.image)[None], *state)
        probabilities = expected.logits[0].softmax(0)
        torch.testing.assert_close(scores.exp(), probabilities, rtol=0, atol=1e-5)
        assert (labels == expected.labels).float().mean() > 0.999
        assert (confidence / 255 - expected.reliability).abs().max() <= 0.5 / 255 + 1e-4
        assert labels.dtype == confidence.dtype == torch.uint8
        listened = max(listened, float(
            (probabilities - decoded.logits[0].softmax(0)).abs().max()))
    assert listened > 0.05, 'the frame before must have made a difference'
    assert state[2].tolist() == [1]


def test_nan_in_the_frame_before_is_not_listened_to(parts: Parts) -> None:
    step = DittaStep(*parts, FusionSettings(tau=1, radius=2))
    plain = torch.randn(1, 3, 4, 5).log_softmax(1)
    spoken = torch.randn(1, 3, 4, 5).log_softmax(1)
    spoken[..., 2, 1] = torch.nan
    fused = step._fuse(plain, spoken, torch.ones(1, dtype=torch.int64))
    assert fused.isfinite().all()
    torch.testing.assert_close(fused[..., 2, 1], plain[..., 2, 1])


def test_reliable_cells_have_no_say_in_the_largest_entropy(parts: Parts) -> None:
    """Eq. 3 with the add-on's reliability relative to the cells that listen to it."""
    step = DittaStep(*parts, FusionSettings(tau=0.8, radius=2))
    plain = torch.tensor([[0.98, 0.02], [0.6, 0.4], [0.5, 0.5]]).T.reshape(1, 2, 1, 3).log()
    spoken = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]]).T.reshape(1, 2, 1, 3).log()
    fused = step._fuse(plain, spoken, torch.ones(1, dtype=torch.int64)).exp()[0, 0, 0]

    def entropy(p: float) -> float:
        return float(-(p * np.log(p) + (1 - p) * np.log(1 - p)))

    highest = max(entropy(0.9), entropy(0.2))
    expected = [0.98]
    for p, s in ((0.6, 0.9), (0.5, 0.2)):
        sure, temporal = 1 - entropy(p) / entropy(0.5), 1 - entropy(s) / highest
        weight = sure / (sure + temporal) if sure + temporal else 0.5
        expected.append(weight * p + (1 - weight) * s)
    np.testing.assert_allclose(fused.numpy(), expected, atol=1e-6)


def test_without_fusion_there_is_no_state(parts: Parts, video: Video) -> None:
    frame, = video(1)
    step = DittaStep(*parts, FusionSettings(tau=0, radius=2)).eval()
    with torch.no_grad():
        labels, _, scores = step(torch.tensor(frame.image)[None])
    assert labels.shape == frame.size
    assert scores.shape == (len(parts[0].label_set), *CELLS)
