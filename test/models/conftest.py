"""What the tests of the segmenters share: tiny ones, far from their initial state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from vseg_ros.labels import LabelSet
from vseg_ros.models.loading import write_segmenter
from vseg_ros.models.ocrnet import new_ocrnet
from vseg_ros.models.reliability import upsample
from vseg_ros.models.segmenter import ImageSegmenter

NAMES = ('road', 'sky', 'car', 'lamp post', 'tree')
TINY_RESNET = {'model_type': 'resnet', 'embedding_size': 8, 'hidden_sizes': [8, 12, 16, 20],
               'depths': [1, 1, 1, 1], 'layer_type': 'basic', 'out_indices': [1, 2, 3, 4]}


def unsettle(model: nn.Module, seed: int = 1) -> nn.Module:
    """Move weights and batch statistics away from their start, where errors can hide."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith('running_var'):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.is_floating_point():
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return model


@pytest.fixture(scope='session')
def make_hf_segformer() -> Callable[[], SegformerForSemanticSegmentation]:
    """Make transformers' own SegFormer, tiny."""
    def make() -> SegformerForSemanticSegmentation:
        torch.manual_seed(0)
        model = SegformerForSemanticSegmentation(SegformerConfig.from_dict({
            'hidden_sizes': [8, 16, 20, 24], 'depths': [1, 1, 1, 1],
            'num_attention_heads': [1, 2, 2, 2], 'decoder_hidden_size': 16,
            'id2label': dict(enumerate(NAMES)),
            'label2id': {name: i for i, name in enumerate(NAMES)}}))
        return unsettle(model).eval()
    return make


@pytest.fixture
def ocrnet() -> ImageSegmenter:
    torch.manual_seed(0)
    model = new_ocrnet(LabelSet.from_names(NAMES), TINY_RESNET, 16, 8)
    unsettle(model.backbone)
    unsettle(model.decoder, 2)
    return model.eval().requires_grad_(False)


@pytest.fixture
def ocrnet_file(ocrnet: ImageSegmenter, tmp_path: Path) -> Path:
    path = tmp_path / 'ocrnet.safetensors'
    write_segmenter(ocrnet, path)
    return path


@pytest.fixture(scope='session')
def make_image() -> Callable[..., np.ndarray]:
    """Make a picture of a few flat patches, uint8 [H, W, 3]."""
    def make(height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        patches = random.integers(0, 256, (-(-height // 16), -(-width // 16), 3), np.uint8)
        return patches.repeat(16, 0).repeat(16, 1)[:height, :width].copy()
    return make


@pytest.fixture(scope='session')
def smooth_logits() -> Callable[[int, int, int], Tensor]:
    """Make logits [1, C, h, w] with regions of a few cells, as a segmenter's are."""
    def make(classes: int, height: int, width: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(1, classes, height // 3 + 1, width // 3 + 1, generator=generator)
        return upsample(8 * coarse, (height, width))
    return make
