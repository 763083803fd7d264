"""Tiny models of Time2General on real backbones, and frames that move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import Dinov2Config, Dinov2Model

from vseg_ros.frame import Frame
from vseg_ros.labels import LabelSet
from vseg_ros.models.loading import write_segmenter
from vseg_ros.models.segformer import SEGFORMER_VARIANTS, new_segformer
from vseg_ros.time2general.model import Time2General
from vseg_ros.time2general.saved import new_time2general, write_time2general
from vseg_ros.training_settings import Time2GeneralModelSettings

NAMES = ('road', 'sky', 'car', 'person')
CLASSES = LabelSet.from_names(NAMES)
SIZE = 56, 70
FRAME_TIME = 100_000_000
TINY_SEGFORMER = {'hidden_sizes': [8, 16, 24, 32], 'depths': [1, 1, 1, 1],
                  'decoder_hidden_size': 16}
TINY_HEAD: dict[str, Any] = {
    'queries': 6, 'width': 16, 'decoder_blocks': 2, 'heads': 2, 'points': 2, 'feed_forward': 24,
    'clip_length': 3, 'upsampling': 1}


def spread(module: nn.Module, strength: float = 0.3) -> nn.Module:
    """Move all parameters away from their start, where errors can hide."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(strength * torch.randn(value.shape, generator=generator))
    return module


def moving_image(index: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Smooth colours that pan, and a red square that moves."""
    height, width = size
    patches = np.random.default_rng(1).integers(0, 255, (5, 12, 3), dtype=np.uint8)
    wide = cv2.resize(patches, (2 * width, height))
    image = wide[:, 4 * index % width:4 * index % width + width].copy()
    left = (width // 8 + 5 * index) % (3 * width // 4)
    image[height // 3:2 * height // 3, left:left + width // 4] = (230, 40, 30)
    return image


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def video() -> Callable[..., list[Frame]]:
    """Function of (frames, size, start): that many moving frames, 100 ms apart."""
    def make(frames: int, size: tuple[int, int] = SIZE, start: int = 0) -> list[Frame]:
        return [Frame(moving_image(i, size), 1_000 + i * FRAME_TIME, f'camera_{i % 2}')
                for i in range(start, start + frames)]
    return make


@pytest.fixture(scope='session')
def make_spread() -> Callable[..., nn.Module]:
    """Function of (module, strength): the module, its parameters moved at random."""
    return spread


@pytest.fixture(scope='session')
def dinov2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny DINOv2 as transformers saves it, patches of 14 pixels."""
    folder = tmp_path_factory.mktemp('backbones') / 'dinov2'
    torch.manual_seed(0)
    model = Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
                                     image_size=56))
    spread(model, 0.1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def segformer_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny image segmenter in this package's form, with maps of four sizes."""
    monkeypatch.setitem(SEGFORMER_VARIANTS, 'tiny', TINY_SEGFORMER)
    torch.manual_seed(1)
    path = tmp_path / 'tiny.safetensors'
    write_segmenter(new_segformer(CLASSES, 'tiny').eval(), path, 'tiny')
    return path


@pytest.fixture
def model_settings(dinov2_folder: Path) -> Callable[..., Time2GeneralModelSettings]:
    """Function of names and values: settings of a tiny head on the tiny DINOv2."""
    def make(**changes: Any) -> Time2GeneralModelSettings:
        return Time2GeneralModelSettings.model_validate(
            {'backbone': str(dinov2_folder), 'blocks': (1, 3), **TINY_HEAD, **changes})
    return make


@pytest.fixture
def new_model(model_settings: Callable[..., Time2GeneralModelSettings],
              ) -> Callable[..., Time2General]:
    """Function of names and values: such a model whose labels and memory matter."""
    def make(**changes: Any) -> Time2General:
        torch.manual_seed(3)
        model = new_time2general(model_settings(**changes), CLASSES)
        spread(model.head)
        with torch.no_grad():
            model.head.decoder.head.classify.weight.mul_(8)
            model.head.decoder.head.mask[-1].weight.mul_(8)
        return model.eval().requires_grad_(False)
    return make


@pytest.fixture
def model_file(new_model: Callable[..., Time2General], tmp_path: Path) -> Callable[..., Path]:
    """Function of names and values: file of such a model."""
    def make(name: str = 'model', **changes: Any) -> Path:
        path = tmp_path / f'{name}.safetensors'
        write_time2general(new_model(**changes), path)
        return path
    return make
