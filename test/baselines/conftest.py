"""A tiny segmenter with sharp opinions, a moving video, and the baselines over both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vseg_ros.frame import Frame
from vseg_ros.labels import LabelSet
from vseg_ros.models import image_pipeline
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.loading import write_segmenter
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.segformer import SEGFORMER_VARIANTS, new_segformer
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.pipeline import SegmentationPipeline, create_pipeline
from vseg_ros.settings import PIPELINE_SETTINGS, PipelineSettings
from vseg_ros.settings_reading import settings_from_values

CLASSES = LabelSet.from_names(('road', 'sky', 'car', 'person'))
TINY = {'hidden_sizes': [8, 16, 40, 32], 'depths': [1, 1, 1, 1], 'decoder_hidden_size': 16}
SIZE = 64, 96


def draw_image(index: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A red square in front of coloured patches; the camera pans."""
    height, width = size
    patches = np.random.default_rng(1).integers(0, 255, (8, 24, 3), dtype=np.uint8)
    wide = cv2.resize(patches, (2 * width, height))
    image = wide[:, index % width:index % width + width].copy()
    left = (width // 8 + 3 * index) % (3 * width // 4)
    image[height // 3:2 * height // 3, left:left + width // 4] = (230, 40, 30)
    return image


def new_segmenter(seed: int, classes: LabelSet = CLASSES) -> ImageSegmenter:
    """A SegFormer of random weights whose labels follow the image."""
    torch.manual_seed(seed)
    segmenter = new_segformer(classes, 'tiny').eval()
    head = segmenter.decoder.head
    with torch.no_grad():
        # Statistics of one image, so that the embedding varies over the frame.
        head.batch_norm.train()
        head.batch_norm.momentum = 1.0
        segmenter(torch.from_numpy(draw_image(0))[None])
        head.batch_norm.momentum = 0.1
        head.classifier.weight.normal_(0, 2)
        head.classifier.bias.zero_()
    return segmenter.eval()


@pytest.fixture
def moving_image() -> Callable[[int], NDArray[np.uint8]]:
    """Function of an index: that image of the video, 64 x 96."""
    return draw_image


@pytest.fixture
def video() -> Callable[..., list[Frame]]:
    """Function of (frames, size, start): that many moving frames, 100 ms apart."""
    def make(frames: int, size: tuple[int, int] = SIZE, start: int = 0) -> list[Frame]:
        return [Frame(draw_image(i, size), 1_000 + i * 100_000_000, 'camera')
                for i in range(start, start + frames)]
    return make


@pytest.fixture
def write_tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Function of (seed, classes): a tiny segmenter on disk."""
    monkeypatch.setitem(SEGFORMER_VARIANTS, 'tiny', TINY)

    def make(seed: int = 1, classes: LabelSet = CLASSES) -> Path:
        path = tmp_path / f'tiny-{seed}-{len(classes)}.safetensors'
        write_segmenter(new_segmenter(seed, classes), path, 'tiny')
        return path
    return make


@pytest.fixture
def new_settings(write_tiny: Callable[..., Path]) -> Callable[..., PipelineSettings]:
    """Function of (pipeline, dotted names and values): settings, warm-up of 4 frames."""
    def make(name: str, values: dict[str, object] | None = None) -> PipelineSettings:
        warmup = {} if name in ('refine', 'iss') else {'warmup.frames': 4}
        return settings_from_values(PIPELINE_SETTINGS[name], {
            'segmenter': str(write_tiny()), 'device': 'cpu', 'input_size': 0, **warmup,
            **(values or {})})
    return make


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run segmenters with PyTorch: an export for onnxruntime takes long."""
    def create(segmenter: ImageSegmenter, device: str, *_: object) -> TorchRuntime:
        return TorchRuntime(segmenter, torch.device(device))
    monkeypatch.setattr(image_pipeline, 'create_runtime', create)
    monkeypatch.setattr('vseg_ros.baselines.auxadapt.create_runtime', create)


@pytest.fixture
def new_pipeline(new_settings: Callable[..., PipelineSettings], eager: None,
                 ) -> Callable[..., SegmentationPipeline]:
    """Function of (pipeline, dotted names and values): a pipeline that runs eagerly."""
    def make(name: str, values: dict[str, object] | None = None) -> SegmentationPipeline:
        return create_pipeline(name, new_settings(name, values))
    return make


@pytest.fixture
def new_labeller(new_settings: Callable[..., PipelineSettings], eager: None,
                 ) -> Callable[..., ImageLabeller]:
    """Function of settings, by default the plain segmenter's: its labeller."""
    def make(settings: PipelineSettings | None = None) -> ImageLabeller:
        return ImageLabeller(settings or new_settings('iss'))  # type: ignore[arg-type]
    return make
