"""What the benchmark of Time2General computes from what it measured, and its parts at work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vseg_ros.evaluation.bench.clips import (
    RANDOM,
    SMALL,
    backbone_alone,
    line_fit,
    weights_file,
)
from vseg_ros.evaluation.bench.large import SlidingStep, new_dinov2, time_large
from vseg_ros.time2general.saved import load_time2general
from vseg_ros.training_settings import Time2GeneralModelSettings

TINY_DINOV2 = {'hidden_size': 16, 'num_hidden_layers': 3, 'num_attention_heads': 2,
               'image_size': 56, 'patch_size': 14}
TINY_HEAD = Time2GeneralModelSettings.model_validate({
    'blocks': (1, 3), 'queries': 6, 'width': 16, 'decoder_blocks': 2, 'heads': 2, 'points': 2,
    'feed_forward': 24, 'clip_length': 3, 'upsampling': 1})


def test_random_weights_are_of_the_bundled_size() -> None:
    assert load_time2general('driving-t2g').head.settings == SMALL


def test_cost_on_a_line_is_found_to_be_one() -> None:
    fit = line_fit([1, 2, 4, 8], [0.5 + 0.25 * length for length in (1, 2, 4, 8)])
    assert fit == pytest.approx({'clip_seconds_a_frame': 0.25, 'clip_seconds_fixed': 0.5,
                                 'clip_fit': 1.0})
    assert line_fit([1, 2, 4, 8], [1, 8, 2, 5])['clip_fit'] < 0.5


def test_random_weights_are_a_model_for_the_time_being() -> None:
    with weights_file(RANDOM, 0, 8) as name:
        settings = load_time2general(name).head.settings
    assert settings == SMALL.model_copy(update={'clip_length': 8})
    assert not Path(name).exists()
    with weights_file('mine', 0) as name:
        assert name == 'mine'


@torch.no_grad()
def test_the_large_step_equals_the_model() -> None:
    torch.manual_seed(0)
    model = new_dinov2(TINY_DINOV2, TINY_HEAD)
    for value in model.head.parameters():
        value.add_(0.3 * torch.randn_like(value))
    images = torch.randint(0, 256, (4, 42, 56, 3), dtype=torch.uint8)
    step = SlidingStep(model, torch.float32, compiled=False)
    logits = [step(image[None]) for image in images]
    expected = model(images[1:4][None])[0, -1]
    torch.testing.assert_close(logits[-1].view_as(expected), expected, rtol=1e-3, atol=1e-4)
    run = backbone_alone(model.backbone, onnx=False)(images[0].numpy())
    assert isinstance(run, tuple)
    assert run[0].isfinite().all()


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_the_large_step_is_timed_on_any_device(dtype: str) -> None:
    numbers = time_large('cpu', 3, compiled=False, dtype=dtype, size=(40, 60),
                         architecture=TINY_DINOV2, settings=TINY_HEAD)
    assert (numbers['large_height'], numbers['large_width']) == (42, 56)
    assert numbers['large_fps_over_paper'] == pytest.approx(numbers['large_fps'] / 18.15)
