"""An exported graph: what is in it, that it can be read by TensorRT, and what cannot be made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from vseg_ros.ditta.export import (
    INPUTS,
    OUTPUTS,
    export_ditta,
    load_adapted_model,
    require_precision,
)
from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.onnx_runtime import DITTA_EXPORT
from vseg_ros.ditta.onnx_step import DittaStep
from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.labels import LabelSet
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.settings import DittaSettings, FusionSettings
from vseg_ros.settings_reading import settings_from_values

# the export is the one slow step; on a machine that is busy elsewhere it takes minutes
pytestmark = pytest.mark.timeout(900)

# What TensorRT 10 reads (docs/operators.md of onnx-tensorrt), as far as it is used here.
TENSORRT_OPERATORS = {
    'Add', 'And', 'ArgMax', 'Cast', 'Clip', 'Concat', 'Conv', 'Div', 'Exp', 'Expand', 'Gather',
    'Gelu', 'Gemm', 'Greater', 'LayerNormalization', 'Less', 'Log', 'LogSoftmax', 'MatMul', 'Max',
    'Min', 'Mul', 'Neg', 'Not', 'Reciprocal', 'ReduceMax', 'ReduceSum', 'Relu', 'Reshape',
    'Resize', 'Round', 'Slice', 'Softmax', 'Sqrt', 'Squeeze', 'Sub', 'Transpose', 'Unsqueeze',
    'Where'}
PLAIN = settings_from_values(DittaSettings, {'fusion.radius': 2, 'fusion.memory': 'plain'})
Segmenters = Callable[..., ImageSegmenter]
Parts = tuple[ImageSegmenter, DittaModel]


@pytest.fixture
def parts(tiny_segmenter: Segmenters) -> Parts:
    segmenter = tiny_segmenter().requires_grad_(False)
    return segmenter, DittaModel(segmenter.decoder, 2).eval().requires_grad_(False)


def static_shapes(model: onnx.ModelProto) -> Iterator[tuple[str, int, bool]]:
    """Name, type and whether its shape is known of everything in a graph."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    for value in inferred.value_info:
        tensor = value.type.tensor_type
        yield value.name, tensor.elem_type, all(d.HasField('dim_value') for d in tensor.shape.dim)


def test_a_graph_of_a_fixed_size_is_one_for_tensorrt(
        parts: Parts, video: Callable[..., list[Frame]], tmp_path: Path) -> None:
    path = tmp_path / 'half.onnx'
    export_ditta(*parts, PLAIN, path, (64, 96), 'float16')
    assert list(tmp_path.iterdir()) == [path]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} <= TENSORRT_OPERATORS
    assert {node.domain for node in model.graph.node} == {''}
    values = list(static_shapes(model))
    assert len(values) > 100
    assert all(known for _, _, known in values)
    inside = {kind for _, kind, _ in values}
    assert onnx.TensorProto.UINT8 not in inside, 'TensorRT has uint8 at the border only'
    assert max(int(np.prod(array.dims)) for array in model.graph.initializer) < (16 * 24) ** 2
    _check_metadata(model)
    _check_stream(path, parts, video(3))


def _check_metadata(model: onnx.ModelProto) -> None:
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties['format'] == DITTA_EXPORT.form
    assert json.loads(properties['classes']) == ['road', 'sky', 'car', 'person']
    assert len(json.loads(properties['palette'])) == 4
    assert [properties[name] for name in ('size', 'stride', 'width', 'precision', 'tau', 'radius',
                                          'memory')] == [
        '64x96', '4', '16', 'float16', str(PLAIN.fusion.tau), '2', 'plain']


def _check_stream(path: Path, parts: Parts, frames: list[Frame]) -> None:
    """Feed every output named next_x to x, as the module's docstring says."""
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    assert [value.name for value in session.get_inputs()] == INPUTS
    assert [value.name for value in session.get_outputs()] == OUTPUTS
    state = {'keys': np.zeros((384, 16), np.float16), 'logits': np.zeros((384, 4), np.float32),
             'seen': np.zeros(1, np.int64)}
    step = DittaStep(*parts, FusionSettings(radius=2, memory='plain')).eval()
    memory = tuple(torch.from_numpy(value.astype(np.float32) if name == 'keys' else value)
                   for name, value in state.items())
    for frame in frames:
        found = dict(zip(OUTPUTS, session.run(None, {'image': frame.image[None], **state}),
                         strict=True))
        state = {name: found[f'next_{name}'] for name in state}
        with torch.no_grad():
            labels, _, scores, *rest = step(torch.tensor(frame.image)[None], *memory)
        memory = tuple(rest)
        assert found['labels'].dtype == found['confidence'].dtype == np.uint8
        assert (found['labels'] == labels.numpy()).mean() > 0.98
        # A cell whose reliability is next to tau may fall on its other side in half precision.
        differs = np.abs(np.exp(found['scores']) - scores.exp().numpy()) > 0.05
        assert differs.mean() < 0.005
    assert state['seen'].tolist() == [1]


def test_what_cannot_be_exported(parts: Parts, tiny_segmenter: Segmenters, tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    for size in ((64, 90), (0, 32)):
        with pytest.raises(UserError, match=r'does not fit driving-b0: .* multiples of 32'):
            export_ditta(*parts, PLAIN, path, size)
    with pytest.raises(UserError, match="--precision 'int8' cannot be exported: use float32 or"):
        require_precision('int8')
    many = tiny_segmenter(classes=LabelSet.from_names([f'class {i}' for i in range(256)]))
    with pytest.raises(UserError, match='256 classes do not fit in uint8'):
        export_ditta(many, DittaModel(many.decoder, 2), PLAIN, path)
    assert not any(tmp_path.iterdir())


def test_what_was_learned_must_be_there(segmenter_file: Path, tmp_path: Path) -> None:
    settings = DittaSettings(segmenter=str(segmenter_file))
    with pytest.raises(UserError, match=r'no file .*nowhere\.safetensors: `vseg replay --save`'):
        load_adapted_model(settings, tmp_path / 'nowhere.safetensors')
    with pytest.raises(UserError, match='was not written by DiTTA'):
        load_adapted_model(settings, segmenter_file)


def test_what_was_learned_in_the_segmenters_own_classes_is_refused(segmenter_file: Path) -> None:
    settings = settings_from_values(DittaSettings, {
        'segmenter': str(segmenter_file), 'classes': 'cityscapes-driving',
        'adaptation.classes': 'source'})
    with pytest.raises(UserError, match=r'adaptation\.classes=source cannot be exported'):
        load_adapted_model(settings, segmenter_file)
