"""onnxruntime against eager torch, and the cache of graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vseg_ros.io.street import SyntheticStreet
from vseg_ros.models.labelling import score_pixels
from vseg_ros.time2general import onnx_runtime
from vseg_ros.time2general.memory_decoder import class_scores
from vseg_ros.time2general.model import PixelFeatures, Time2General
from vseg_ros.time2general.onnx_runtime import OnnxFrameRuntime
from vseg_ros.time2general.runtime import TorchFrameRuntime, create_frame_runtime

# the export is the one slow step; on a machine that is busy elsewhere it takes minutes
pytestmark = pytest.mark.timeout(900)

SEGFORMER = {'blocks': (1, 2, 3, 4), 'upsampling': 0}


@pytest.fixture
def model(new_model: Callable[..., Time2General], segformer_file: Path) -> Time2General:
    return new_model(backbone=str(segformer_file), **SEGFORMER)


def literal_labels(model: Time2General, images: list[np.ndarray]) -> torch.Tensor:
    """Label the last image with the model as it is written beside the paper."""
    scores = model(torch.tensor(np.stack(images))[None])[0, -1:]
    return score_pixels(scores, images[-1].shape[:2]).labels


def test_labels_equal_the_model_on_a_street(model: Time2General,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = create_frame_runtime(model, 'cpu', 'auto')
    assert isinstance(runtime, OnnxFrameRuntime)
    eager = TorchFrameRuntime(model, torch.device('cpu'), torch.float32)
    for size in ((96, 160), (64, 64)):
        images = [painted.frame.image for painted in SyntheticStreet(1, 4, size, 5.0)]
        clip: list[PixelFeatures] = []
        for index, image in enumerate(images):
            pixels, fused = runtime.encode(image)
            expected, expected_fused = eager.encode(image)
            assert pixels.sizes == expected.sizes
            torch.testing.assert_close(pixels.cells, expected.cells, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(fused, expected_fused, rtol=1e-3, atol=1e-4)
            clip = [*clip, pixels][-3:]
            logits = runtime.decode(runtime.attend(clip), fused)
            labels = score_pixels(logits, size).labels
            wanted = literal_labels(model, images[max(index - 2, 0):index + 1])
            assert len(wanted.unique()) > 1
            assert (labels == wanted).float().mean() >= 0.999
    check_cache(model, monkeypatch)


def test_where_no_graph_can_be_made_torch_runs_the_network(
        model: Time2General, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: Time2General, path: Path) -> None:
        raise AttributeError('no such operator')

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(onnx_runtime, '_export', fail)
    runtime = create_frame_runtime(copy.deepcopy(model), 'cpu', 'auto')
    assert isinstance(runtime, TorchFrameRuntime)
    image = np.zeros((64, 96, 3), np.uint8)
    expected = TorchFrameRuntime(model, torch.device('cpu'), torch.float32).encode(image)
    torch.testing.assert_close(runtime.encode(image)[1], expected[1])


def check_cache(model: Time2General, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is found again, and not when backbone or head are others."""
    def refuse(model: Time2General, path: Path) -> None:
        raise AssertionError('exported again')

    monkeypatch.setattr(onnx_runtime, '_export', refuse)
    OnnxFrameRuntime(model)
    for part in (model.head, model.backbone):
        value = next(part.parameters())
        value.data.add_(0.01)
        with pytest.raises(AssertionError, match='exported again'):
            OnnxFrameRuntime(model)
        value.data.sub_(0.01)


def test_other_backbones_and_formats_run_eagerly(new_model: Callable[..., Time2General],
                                                 model: Time2General) -> None:
    assert isinstance(create_frame_runtime(new_model(), 'cpu', 'auto'), TorchFrameRuntime)
    other = copy.deepcopy(model)
    assert isinstance(create_frame_runtime(other, 'cpu', 'bfloat16'), TorchFrameRuntime)


def test_a_backbone_is_kept_in_the_format_it_is_run_in(
        new_model: Callable[..., Time2General], video) -> None:
    model = new_model()
    image = video(1)[0].image
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        features, depth = model.encode(torch.tensor(image)[None])
        expected = model.head.fuse(model.head.modulate(features, depth)).float()
    runtime = TorchFrameRuntime(model, torch.device('cpu'), torch.bfloat16)
    assert torch.equal(runtime.encode(image)[1], expected)
    assert torch.bfloat16 in {value.dtype for value in model.backbone.parameters()}
    assert {value.dtype for value in model.head.parameters()} == {torch.float32}


def test_eager_runtime_equals_the_model(new_model: Callable[..., Time2General], video) -> None:
    model = new_model()
    runtime = TorchFrameRuntime(model, torch.device('cpu'), torch.float32)
    images = [frame.image for frame in video(3)]
    encoded = [runtime.encode(image) for image in images]
    logits = runtime.decode(runtime.attend([pixels for pixels, _ in encoded]), encoded[-1][1])
    expected = model(torch.tensor(np.stack(images))[None])[0, -1:]
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(class_scores(model.head.predict(
        model.head.attend(PixelFeatures(torch.cat([p.cells for p, _ in encoded]),
                                        encoded[0][0].sizes).memory(3))[-1],
        encoded[-1][1]))[0].argmax(1), logits.argmax(1))
