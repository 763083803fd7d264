"""What a user has: adapt, save, export, and start with the exported file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vseg_ros.ditta.export import export_ditta, load_adapted_model
from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.onnx_pipeline import ExportedDittaPipeline
from vseg_ros.ditta.onnx_runtime import ExportedDitta
from vseg_ros.ditta.onnx_step import DittaStep
from vseg_ros.ditta.pipeline import DittaPipeline
from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.labels import LabelSet
from vseg_ros.models.labelling import resize_image
from vseg_ros.models.segmenter import Decoded, Features, ImageSegmenter
from vseg_ros.pipeline import PipelineState, SegmentationPipeline, create_pipeline
from vseg_ros.settings import DittaSettings, FusionSettings

# the export is the one slow step; on a machine that is busy elsewhere it takes minutes
pytestmark = pytest.mark.timeout(900)
Video = Callable[..., list[Frame]]


def assert_same(exported: SegmentationPipeline, running: SegmentationPipeline,
                frames: list[Frame]) -> None:
    classes: set[int] = set()
    for frame in frames:
        found, = exported.step(frame)
        expected, = running.step(frame)
        assert (found.stamp, found.frame_id) == (expected.stamp, expected.frame_id)
        assert found.labels.shape == found.confidence.shape == frame.size
        assert (found.labels == expected.labels).mean() >= 0.999
        assert np.abs(found.confidence - expected.confidence).max() <= 0.5 / 255 + 1e-3
        classes |= set(np.unique(expected.labels).tolist())
    assert len(classes) > 1, 'labels that are all the same show no error'


def test_the_exported_file_does_what_the_frozen_pipeline_does(
        new_pipeline: Callable[..., DittaPipeline], new_settings: Callable[..., DittaSettings],
        video: Video, tmp_path: Path) -> None:
    adapted = new_pipeline()
    for frame in video(4):
        adapted.step(frame)
    assert adapted.status.state is PipelineState.FROZEN
    learned, path = tmp_path / 'street.safetensors', tmp_path / 'street.onnx'
    adapted.save(learned)
    settings = new_settings()
    export_ditta(*load_adapted_model(settings, learned), settings, path, (64, 96))
    running = new_pipeline({'adapted_weights': str(learned), 'precision': 'float32'})
    exported = create_pipeline('ditta', new_settings({'adapted_weights': str(path)}))
    assert isinstance(exported, ExportedDittaPipeline)
    assert exported.label_set == running.label_set
    assert exported.status.state is PipelineState.FROZEN
    assert_same(exported, running, video(4, start=4))
    assert_same(exported, running, video(2))  # stamps jump back: the frame before is forgotten
    assert_same(exported, running, video(3, (70, 100), 9))  # labels are enlarged from the scores
    with pytest.raises(UserError, match='is an exported model and cannot adapt'):
        exported.adapt()
    with pytest.raises(UserError, match='learns nothing that could be saved'):
        exported.save(tmp_path / 'again.safetensors')
    assert exported.finish() == []
    _check_runtime(path, video)


def _check_runtime(path: Path, video: Video) -> None:
    """The class for programs of one's own: no torch, and a reset means a fresh start."""
    frames = [frame.image for frame in video(3)]
    exported = ExportedDitta(path, threads=1)
    first = exported.step(frames[0])
    exported.step(frames[1])
    remembered = exported.step(frames[2])
    exported.reset()
    fresh = exported.step(frames[2])
    assert (remembered.labels != fresh.labels).any()
    exported.reset()
    again = exported.step(frames[0], scores=True)
    np.testing.assert_array_equal(again.labels, first.labels)
    assert first.scores is None
    assert again.scores is not None
    assert again.scores.shape == (4, 16, 24)
    with pytest.raises(UserError, match=r'65x96 does not fit .* 64x96'):
        exported.step(np.zeros((65, 96, 3), np.uint8))
    program = ('import sys, numpy; from pathlib import Path; '
               'from vseg_ros.ditta.onnx_runtime import ExportedDitta; '
               'ExportedDitta(Path(sys.argv[1])).step(numpy.zeros((64, 96, 3), numpy.uint8)); '
               'assert "torch" not in sys.modules')
    subprocess.run([sys.executable, '-c', program, str(path)], check=True)


class Colours(nn.Module):
    """Two small maps of an image, the simplest backbone that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 8, 4, 4)

    def forward(self, images: torch.Tensor) -> Features:
        """Encode."""
        return (self.fine(images),)


class Linear(nn.Module):
    """A classifier on the one map."""

    embedding_width = 8

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(8, 4, 1)
        nn.init.normal_(self.classifier.weight, std=3)

    def forward(self, features: Features) -> Decoded:
        """Decode."""
        embedding = features[0].relu()
        return Decoded(embedding, self.classifier(embedding))


def test_images_of_any_size(video: Video, tmp_path: Path) -> None:
    torch.manual_seed(0)
    classes = LabelSet.from_names(('road', 'sky', 'car', 'person'))
    segmenter = ImageSegmenter(Colours(), Linear(), classes).eval().requires_grad_(False)
    model = DittaModel(segmenter.decoder, 2).eval().requires_grad_(False)
    path = tmp_path / 'any.onnx'
    settings = DittaSettings(adapted_weights=str(path), device='cpu', input_size=64,
                             fusion=FusionSettings(radius=2))
    export_ditta(segmenter, model, settings, path)
    exported = ExportedDittaPipeline(settings)
    step = DittaStep(segmenter, model, settings.fusion).eval()
    for size, used in (((64, 96), (64, 96)), ((96, 224), (64, 160)), ((32, 64), (32, 64))):
        cells = used[0] * used[1] // 16
        state: list[torch.Tensor] = [torch.zeros(cells, 8), torch.zeros(cells, 4),
                                     torch.zeros(1, dtype=torch.int64)]
        for frame in video(3, size):
            image = torch.tensor(resize_image(frame.image, used))[None]
            with torch.no_grad():
                labels, confidence, _, *state = step(image, *state)
            found, = exported.step(frame)
            assert found.labels.shape == size
            if size == used:
                assert (found.labels == labels.numpy()).mean() >= 0.999
                assert np.abs(found.confidence * 255 - confidence.numpy()).max() < 1.01
            assert len(np.unique(found.labels)) > 1


def test_a_file_that_is_not_there_or_not_ours(new_settings: Callable[..., DittaSettings],
                                              tmp_path: Path) -> None:
    for content, message in ((None, 'there is no file'), (b'no graph', 'cannot be read as ONNX'),
                             (b'', 'is no DiTTA of this version')):
        path = tmp_path / 'model.onnx'
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            create_pipeline('ditta', new_settings({'adapted_weights': str(path)}))
        assert '\n' not in str(caught.value)
    with pytest.raises(UserError, match="device 'tpu' is unknown to an exported model"):
        create_pipeline('ditta', DittaSettings(adapted_weights='x.onnx', device='tpu'))
