"""A tiny segmenter with sharp opinions, small moving videos, and pipelines over both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vseg_ros.ditta.pipeline import DittaPipeline
from vseg_ros.frame import Frame
from vseg_ros.labels import LabelSet
from vseg_ros.models import image_pipeline
from vseg_ros.models.loading import write_segmenter
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.segformer import SEGFORMER_VARIANTS, new_segformer
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.settings import DittaSettings
from vseg_ros.settings_reading import settings_from_values

CLASSES = LabelSet.from_names(('road', 'sky', 'car', 'person'))
TINY = {'hidden_sizes': [8, 16, 40, 32], 'depths': [1, 1, 1, 1], 'decoder_hidden_size': 16}
SIZE = 64, 96
FRAME_TIME = 100_000_000


def moving_image(index: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A red square in front of coloured patches; the camera pans."""
    height, width = size
    patches = np.random.default_rng(1).integers(0, 255, (8, 24, 3), dtype=np.uint8)
    wide = cv2.resize(patches, (2 * width, height))
    image = wide[:, index % width:index % width + width].copy()
    left = (width // 8 + 3 * index) % (3 * width // 4)
    image[height // 3:2 * height // 3, left:left + width // 4] = (230, 40, 30)
    return image


@pytest.fixture
def video() -> Callable[..., list[Frame]]:
    """Function of (frames, size, start): that many moving frames, 100 ms apart."""
    def make(frames: int, size: tuple[int, int] = SIZE, start: int = 0) -> list[Frame]:
        return [Frame(moving_image(i, size), 1_000 + i * FRAME_TIME, f'camera_{i % 2}')
                for i in range(start, start + frames)]
    return make


@pytest.fixture
def tiny_segmenter(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ImageSegmenter]:
    """Function of (seed, classes): a SegFormer of random weights whose labels follow the image."""
    monkeypatch.setitem(SEGFORMER_VARIANTS, 'tiny', TINY)

    def make(seed: int = 1, classes: LabelSet = CLASSES) -> ImageSegmenter:
        torch.manual_seed(seed)
        segmenter = new_segformer(classes, 'tiny').eval()
        head = segmenter.decoder.head
        with torch.no_grad():
            # Statistics of one image, so that the embedding varies over the frame.
            head.batch_norm.train()
            head.batch_norm.momentum = 1.0
            segmenter(torch.from_numpy(moving_image(0))[None])
            head.classifier.weight.normal_(0, 2)
            head.classifier.bias.zero_()
        return segmenter.eval()
    return make


@pytest.fixture
def segmenter_file(tiny_segmenter: Callable[..., ImageSegmenter], tmp_path: Path) -> Path:
    """The tiny segmenter on disk."""
    path = tmp_path / 'tiny.safetensors'
    write_segmenter(tiny_segmenter(), path, 'tiny')
    return path


@pytest.fixture
def new_settings(segmenter_file: Path) -> Callable[..., DittaSettings]:
    """Function of dotted names and values: settings for the tiny segmenter, short warm-up."""
    def make(values: dict[str, object] | None = None) -> DittaSettings:
        return settings_from_values(DittaSettings, {
            'segmenter': str(segmenter_file), 'device': 'cpu', 'input_size': 0,
            'warmup.frames': 4, 'adaptation.passes': 2, 'fusion.radius': 2, **(values or {})})
    return make


@pytest.fixture
def new_pipeline(new_settings: Callable[..., DittaSettings], monkeypatch: pytest.MonkeyPatch,
                 ) -> Callable[..., DittaPipeline]:
    """Function of dotted names and values: a pipeline that runs eagerly."""
    monkeypatch.setattr(
        image_pipeline, 'create_runtime',
        lambda segmenter, device, *_: TorchRuntime(segmenter, torch.device(device)))

    def make(values: dict[str, object] | None = None) -> DittaPipeline:
        return DittaPipeline(new_settings(values))
    return make
