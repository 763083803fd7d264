"""An exported step gives the labels of the pipeline, from the first frame on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.io.street import SyntheticStreet
from vseg_ros.settings import Time2GeneralSettings
from vseg_ros.time2general.export import ExportedTime2General, export_time2general
from vseg_ros.time2general.model import Time2General
from vseg_ros.time2general.pipeline import Time2GeneralPipeline
from vseg_ros.time2general.saved import load_time2general

# the export is the one slow step; on a machine that is busy elsewhere it takes minutes
pytestmark = pytest.mark.timeout(900)


def street(count: int, size: tuple[int, int]) -> list[Frame]:
    return [painted.frame for painted in SyntheticStreet(1, count, size, 10.0)]


def pipeline(path: Path) -> Time2GeneralPipeline:
    return Time2GeneralPipeline(Time2GeneralSettings(weights=str(path), device='cpu',
                                                     input_size=0))


def assert_same(exported: ExportedTime2General, path: Path, frames: list[Frame]) -> None:
    running = pipeline(path)
    classes: set[int] = set()
    for frame in frames:
        expected, = running.step(frame)
        classes |= set(np.unique(expected.labels).tolist())
        found = exported.step(frame.image)
        assert found.labels.dtype == np.uint8
        assert found.labels.shape == found.confidence.shape == frame.size
        assert (found.labels == expected.labels).mean() >= 0.999
        assert np.abs(found.confidence - expected.confidence).max() < 1e-3
    assert len(classes) > 1, 'labels that are all the same show no error'


def test_any_size(model_file: Callable[..., Path], segformer_file: Path, tmp_path: Path) -> None:
    path = model_file(backbone=str(segformer_file), blocks=(1, 2, 3, 4), upsampling=0)
    export_time2general(load_time2general(str(path)), tmp_path / 'any.onnx')
    exported = ExportedTime2General(tmp_path / 'any.onnx')
    assert exported.classes == ['road', 'sky', 'car', 'person']
    assert_same(exported, path, street(5, (96, 160)))
    assert_same(exported, path, street(2, (64, 128)))
    exported.reset()
    assert_same(exported, path, street(2, (64, 128)))
    assert_same(exported, path, street(2, (128, 64)))  # as many cells, in other places
    with pytest.raises(UserError, match=r'65x128 does not fit .* multiples of 32'):
        exported.step(np.zeros((65, 128, 3), np.uint8))


def test_fixed_size_of_a_vision_transformer(model_file: Callable[..., Path],
                                            tmp_path: Path) -> None:
    path = model_file()
    export_time2general(load_time2general(str(path)), tmp_path / 'fixed.onnx', (56, 70))
    exported = ExportedTime2General(tmp_path / 'fixed.onnx')
    assert_same(exported, path, street(4, (56, 70)))
    graph = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / 'fixed.onnx')).graph
    inside = {value.type.tensor_type.elem_type for value in graph.value_info}
    assert onnx.TensorProto.UINT8 not in inside, 'TensorRT has uint8 at the border only'
    with pytest.raises(UserError, match=r'56x84 does not fit .* 56x70'):
        exported.step(np.zeros((56, 84, 3), np.uint8))


def test_without_memory_there_is_none_to_hand_on(model_file: Callable[..., Path],
                                                 tmp_path: Path) -> None:
    path = model_file(memory=False)
    export_time2general(load_time2general(str(path)), tmp_path / 'single.onnx', (56, 70))
    assert [value.name for value in onnx.load(tmp_path / 'single.onnx').graph.input] == ['image']
    assert_same(ExportedTime2General(tmp_path / 'single.onnx'), path, street(3, (56, 70)))


def test_what_cannot_be_exported_or_read(new_model: Callable[..., Time2General], tmp_path: Path,
                                         nothing_left: Callable[..., None]) -> None:
    with pytest.raises(UserError, match=r'50x70 does not fit .* multiples of 14'):
        export_time2general(new_model(), tmp_path / 'model.onnx', (50, 70))
    nothing_left()
    (tmp_path / 'broken.onnx').write_bytes(b'no graph')
    with pytest.raises(UserError, match='cannot be read as ONNX'):
        ExportedTime2General(tmp_path / 'broken.onnx')
    with pytest.raises(UserError, match='has no NowhereExecutionProvider here'):
        ExportedTime2General(tmp_path / 'broken.onnx', ['NowhereExecutionProvider'])
