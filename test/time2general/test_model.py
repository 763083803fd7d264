"""Head and model as a whole: clips, the ablation without memory, priors, and the paper's size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from vseg_ros.frame import Frame
from vseg_ros.time2general.deformable_attention import ClipDeformableAttention
from vseg_ros.time2general.memory_decoder import class_scores
from vseg_ros.time2general.model import PixelFeatures, Time2General, Time2GeneralHead
from vseg_ros.training_settings import Time2GeneralModelSettings

NewModel = Callable[..., Time2General]
PAPER_MILLIONS = 24.46


@pytest.fixture
def clips(video: Callable[..., list[Frame]]) -> Tensor:
    """Two clips of three frames, uint8 [2, 3, H, W, 3]."""
    images = np.stack([frame.image for frame in video(6)])
    return torch.from_numpy(images).unflatten(0, (2, 3))


def test_logits_of_clips(new_model: NewModel, clips: Tensor) -> None:
    model = new_model()
    logits = model(clips)
    assert logits.shape == (2, 3, 4, 8, 10)  # 56 x 70 pixels in patches of 14, doubled once
    assert logits.dtype == torch.float32
    assert len(logits.argmax(2).unique()) > 1
    for clip, alone in zip(clips, logits, strict=True):
        torch.testing.assert_close(model(clip[None])[0], alone, rtol=1e-4, atol=1e-4)


def test_memory_is_of_use_and_without_it_frames_are_alone(new_model: NewModel,
                                                          clips: Tensor) -> None:
    for memory in (True, False):
        model = new_model(memory=memory)
        together = model(clips)
        alone = model(clips.flatten(0, 1)[:, None]).view_as(together)
        assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4) is not memory


def test_one_set_of_queries_decodes_every_frame(new_model: NewModel, clips: Tensor) -> None:
    model = new_model()
    calls: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, ClipDeformableAttention):
            module.register_forward_hook(lambda _, inputs, output: calls.append(output.shape))
    features, depth = model.encode(clips.flatten(0, 1))
    predictions = model.head(features, 2, depth)
    assert calls == [(2, 6, 16)] * 2
    pixels = model.head.modulate(features)
    queries = model.head.attend(pixels.memory(3))
    fused = model.head.fuse(pixels).unflatten(0, (2, 3))
    assert len(predictions) == 2
    for prediction, state in zip(predictions, queries, strict=True):
        assert prediction.class_logits.shape == (2, 6, 5)
        masks = model.head.decoder.head.mask(state)
        for clip in range(2):
            for t in range(3):
                expected = torch.einsum('qd,dhw->qhw', masks[clip], fused[clip, t])
                torch.testing.assert_close(prediction.mask_logits[clip, :, t], expected,
                                           rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(clips), class_scores(predictions[-1]))


def test_features_of_scales_and_memory_of_clips() -> None:
    cells = torch.arange(6 * 10 * 2.).view(6, 10, 2)
    pixels = PixelFeatures(cells, ((2, 3), (2, 2)))
    fine, coarse = pixels.scales()
    assert torch.equal(fine, cells[:, :6])
    assert torch.equal(coarse, cells[:, 6:])
    memory = pixels.memory(3)
    assert torch.equal(memory.cells, torch.stack([cells[:3], cells[3:]]))
    assert memory.sizes == pixels.sizes


def test_every_parameter_learns(new_model: NewModel, clips: Tensor) -> None:
    model = new_model().requires_grad_(True)
    model.backbone.requires_grad_(False)
    model(clips).square().sum().backward()
    for name, value in model.head.named_parameters():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name
        assert value.grad.abs().max() > 0, name


def test_text_prior_biases_what_modulates_alone(model_settings: Callable[..., Any]) -> None:
    settings = model_settings()
    torch.manual_seed(0)
    head = Time2GeneralHead((5, 7), 4, settings, torch.randn(4, 12))
    features = torch.randn(2, 5, 3, 4), torch.randn(2, 7, 3, 4)
    modulated = head.modulate(features)
    biased = head.stability.queries + head.text.alpha * head.text.context()
    torch.testing.assert_close(modulated.cells,
                               torch.cat(head.stability(features, biased), 1))
    states = head.attend(modulated.memory(2))
    with torch.no_grad():
        head.text.alpha.fill_(3)
    assert (head.modulate(features).cells - modulated.cells).abs().max() > 1e-3
    for a, b in zip(head.attend(modulated.memory(2)), states, strict=True):
        assert torch.equal(a, b)


def test_depth_prior(new_model: NewModel, clips: Tensor, tmp_path: Path) -> None:
    torch.manual_seed(5)
    encoder = Dinov2Config(hidden_size=24, num_hidden_layers=4, num_attention_heads=2,
                           image_size=56, out_indices=[1, 2, 3, 4], reshape_hidden_states=False)
    DepthAnythingForDepthEstimation(DepthAnythingConfig(
        backbone_config=encoder, reassemble_hidden_size=24, neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=4, head_hidden_size=4)).save_pretrained(tmp_path / 'depth')
    model = new_model(depth_prior=str(tmp_path / 'depth'))
    _, depth = model.encode(clips.flatten(0, 1))
    assert [each.shape for each in depth] == [(6, 24, 4, 5)] * 2
    before = model(clips)
    with torch.no_grad():
        model.head.stability.gate.logits.fill_(-4)
    assert (model(clips) - before).abs().max() > 1e-3


def test_size_is_that_of_the_paper() -> None:
    settings = Time2GeneralModelSettings()
    assert settings.backbone == 'facebook/dinov2-large'
    assert settings.blocks == (8, 12, 16, 24)
    assert (settings.queries, settings.width) == (100, 256)
    with torch.device('meta'):
        head = Time2GeneralHead([1024] * 4, 15, settings, torch.empty(15, 768), [1024] * 4)
    trained = sum(each.numel() for each in head.parameters() if each.requires_grad) / 1e6
    assert abs(trained - PAPER_MILLIONS) < 0.1 * PAPER_MILLIONS
