"""Opening exported files: what they must be, where they run, which images they take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from vseg_ros.errors import UserError
from vseg_ros.models import exported
from vseg_ros.models.exported import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    TENSORRT_PROVIDER,
    ExportedModel,
    ExportKind,
    provider_options,
    providers_for,
)

KIND = ExportKind('vseg_ros/sum/1', 'Sum', 'vseg export sum')


def write(path: Path, **properties: str) -> Path:
    """A graph that adds up the pixels of an image."""
    image = helper.make_tensor_value_info('image', TensorProto.UINT8, [1, None, None, 3])
    total = helper.make_tensor_value_info('total', TensorProto.FLOAT, None)
    nodes = [helper.make_node('Cast', ['image'], ['pixels'], to=TensorProto.FLOAT),
             helper.make_node('ReduceSum', ['pixels'], ['total'], keepdims=0)]
    model = helper.make_model(helper.make_graph(nodes, 'sum', [image], [total]),
                              opset_imports=[helper.make_opsetid('', 20)], ir_version=9)
    helper.set_model_props(model, {'format': KIND.form, 'size': 'dynamic', 'size_multiple': '4',
                                   **properties})
    onnx.save(model, path)
    return path


def test_a_file_of_the_kind_runs(tmp_path: Path) -> None:
    model = ExportedModel(write(tmp_path / 'sum.onnx'), KIND)
    total, = model.session.run(None, {'image': np.ones((1, 4, 8, 3), np.uint8)})
    assert total == 96
    assert model.device == 'cpu'


def test_what_is_no_file_of_the_kind_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'no file .*nowhere.onnx: write one with `vseg export'):
        ExportedModel(tmp_path / 'nowhere.onnx', KIND)
    whole = write(tmp_path / 'sum.onnx').read_bytes()
    for name, content in (('garbage', b'\xff' * 99), ('cut', whole[:len(whole) // 2])):
        path = tmp_path / f'{name}.onnx'
        path.write_bytes(content)
        with pytest.raises(UserError, match='cannot be read as ONNX'):
            ExportedModel(path, KIND)
    (tmp_path / 'empty.onnx').touch()
    other = write(tmp_path / 'other.onnx', format='vseg_ros/sum/0')
    for path in (other, tmp_path / 'empty.onnx'):
        with pytest.raises(UserError, match='is no Sum of this version'):
            ExportedModel(path, KIND)


def test_a_provider_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'has no NowhereExecutionProvider here, only .*CPU'):
        ExportedModel(write(tmp_path / 'sum.onnx'), KIND, ['NowhereExecutionProvider'])


@pytest.mark.parametrize(('image', 'message'), [
    (np.zeros((8, 8, 3), np.float32), r'must be uint8 \[H, W, 3\], not float32'),
    (np.zeros((8, 8), np.uint8), r'not uint8 \[8, 8\]'),
    (np.zeros((8, 8, 4), np.uint8), r'not uint8 \[8, 8, 4\]'),
    (np.zeros((8, 6, 3), np.uint8), '8x6 does not fit the exported model: resize it to'),
    (np.zeros((0, 8, 3), np.uint8), '0x8 does not fit'),
])
def test_images_that_do_not_fit(tmp_path: Path, image: np.ndarray, message: str) -> None:
    model = ExportedModel(write(tmp_path / 'sum.onnx'), KIND)
    with pytest.raises(UserError, match=message):
        model.require_image(image)
    assert model.require_image(np.zeros((8, 12, 3), np.uint8)) == (8, 12)


def test_a_fixed_size_is_the_only_one(tmp_path: Path) -> None:
    model = ExportedModel(write(tmp_path / 'sum.onnx', size='8x12'), KIND)
    assert model.require_image(np.zeros((8, 12, 3), np.uint8)) == (8, 12)
    with pytest.raises(UserError, match='resize it to 8x12'):
        model.require_image(np.zeros((12, 8, 3), np.uint8))


def test_devices_are_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert providers_for('cpu') == ([CPU_PROVIDER], 0)
    assert providers_for('cuda') == ([CUDA_PROVIDER], 0)
    assert providers_for('cuda:2') == ([CUDA_PROVIDER], 2)
    assert providers_for('tensorrt:1') == ([TENSORRT_PROVIDER, CUDA_PROVIDER], 1)
    for there, chosen in (([CPU_PROVIDER], [CPU_PROVIDER]),
                          ([CUDA_PROVIDER, CPU_PROVIDER], [CUDA_PROVIDER, CPU_PROVIDER])):
        monkeypatch.setattr(exported.onnxruntime, 'get_available_providers', lambda x=there: x)
        assert providers_for('auto') == (chosen, 0)


@pytest.mark.parametrize('device', ['', 'gpu', 'cuda:', 'cuda:x', 'cpu:1', 'auto:0',
                                    'tensorrt:-1'])
def test_other_devices_are_refused(device: str) -> None:
    with pytest.raises(UserError, match='is unknown to an exported model: use auto'):
        providers_for(device)


def test_tensorrt_keeps_its_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert provider_options(CPU_PROVIDER) == {}
    assert provider_options(CUDA_PROVIDER, gpu=1) == {'device_id': '1'}
    options = provider_options(TENSORRT_PROVIDER, tmp_path, half=True)
    assert options['trt_engine_cache_path'] == str(tmp_path)
    assert options['trt_engine_cache_enable'] == options['trt_fp16_enable'] == 'True'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    own = provider_options(TENSORRT_PROVIDER)
    assert own['trt_engine_cache_path'] == str(tmp_path / 'vseg_ros' / 'tensorrt')
    assert own['trt_fp16_enable'] == 'False'
