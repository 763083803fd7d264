"""The plain segmenter as a pipeline: each frame by itself, at the frame's size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.models.image_pipeline import ImageLabeller, ImagePipeline
from vseg_ros.models.reliability import reliability, upsample
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.pipeline import PipelineState, SegmentationPipeline
from vseg_ros.settings import SegmenterSettings

MakeImage = Callable[..., np.ndarray]


@pytest.fixture
def settings(ocrnet_file: Path) -> SegmenterSettings:
    return SegmenterSettings(segmenter=str(ocrnet_file), device='cpu', input_size=64)


def test_labels_and_confidence_are_the_networks(settings: SegmenterSettings,
                                                make_image: MakeImage) -> None:
    pipeline = ImagePipeline(settings)
    assert isinstance(pipeline, SegmentationPipeline)
    image = make_image(64, 96)
    found, = pipeline.step(Frame(image, 12, 'camera'))
    segmenter: ImageSegmenter = ImageLabeller(settings).segmenter
    with torch.no_grad():
        logits = upsample(segmenter(torch.from_numpy(image)[None]).logits, (64, 96))
    expected = logits[0].argmax(0).numpy()
    assert len(np.unique(expected)) > 1
    assert (found.labels == expected).mean() > 0.999
    np.testing.assert_allclose(found.confidence, reliability(logits.log_softmax(1))[0].numpy(),
                               rtol=0, atol=1e-4)
    assert (found.stamp, found.frame_id) == (12, 'camera')
    assert found.label_set == pipeline.label_set == segmenter.label_set


@pytest.mark.parametrize('size', [(96, 128), (64, 96), (33, 41), (7, 5), (200, 64)])
def test_any_frame_size(settings: SegmenterSettings, make_image: MakeImage,
                        size: tuple[int, int]) -> None:
    pipeline = ImagePipeline(settings)
    found, = pipeline.step(Frame(make_image(*size)))
    assert found.labels.shape == found.confidence.shape == size
    assert 0 <= found.confidence.min() <= found.confidence.max() <= 1


def test_input_size(settings: SegmenterSettings, make_image: MakeImage) -> None:
    frame = Frame(make_image(96, 160))
    assert ImageLabeller(settings).prepare(frame).shape == (64, 96, 3)
    unscaled = settings.model_copy(update={'input_size': 0})
    assert ImageLabeller(unscaled).prepare(frame) is frame.image


def test_no_memory_and_nothing_held_back(settings: SegmenterSettings,
                                         make_image: MakeImage) -> None:
    pipeline = ImagePipeline(settings)
    first, other = Frame(make_image()), Frame(make_image(seed=1))
    before, = pipeline.step(first)
    between, = pipeline.step(other)
    after, = pipeline.step(first)
    np.testing.assert_array_equal(before.labels, after.labels)
    np.testing.assert_array_equal(before.confidence, after.confidence)
    assert (before.labels != between.labels).any()
    assert pipeline.status.state is PipelineState.RUNNING
    assert pipeline.finish() == []


def test_what_is_missing_is_said_at_the_start(settings: SegmenterSettings) -> None:
    with pytest.raises(UserError, match='no weights named'):
        ImagePipeline(settings.model_copy(update={'segmenter': 'nothing'}))
    with pytest.raises(UserError, match="device 'tpu' is unknown"):
        ImagePipeline(settings.model_copy(update={'device': 'tpu'}))
