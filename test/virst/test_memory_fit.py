"""What a checkpoint needs, and whether it fits."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from vseg_ros.errors import UserError
from vseg_ros.virst import memory_fit
from vseg_ros.virst.memory_fit import (
    GIB,
    available_bytes,
    check_fits,
    check_four_bit,
    load_fitting,
    local_folder,
    needed_bytes,
    read_header,
    tensor_shapes,
)

CPU = torch.device('cpu')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, 24 + 200 + 8 parameters."""
    save_file({'embed.weight': torch.ones(4, 6, dtype=torch.bfloat16)},
              tmp_path / 'model-1.safetensors', metadata={'format': 'pt'})
    save_file({'layers.0.up.weight': torch.ones(10, 20), 'layers.0.norm.weight': torch.ones(8)},
              tmp_path / 'model-2.safetensors')
    return tmp_path


def test_parameters_times_bytes(folder: Path) -> None:
    assert dict(tensor_shapes(folder)) == {
        'embed.weight': [4, 6], 'layers.0.up.weight': [10, 20], 'layers.0.norm.weight': [8]}
    assert needed_bytes(folder, torch.float32) == 4 * 232
    assert needed_bytes(folder, torch.bfloat16) == 2 * 232
    assert needed_bytes(folder, torch.bfloat16, four_bit=True) == int(200 * 0.5625) + 2 * 32


@pytest.mark.parametrize(('dtype', 'free', 'words'), [
    (torch.float32, 0.5, ['needs 1.0 GiB of memory on cpu', 'weights in float32',
                          'but 0.5 GiB are free', 'set precision to bfloat16']),
    (torch.bfloat16, 0.25, ['weights in bfloat16', 'but 0.2 GiB are free',
                            'choose a smaller model']),
])
def test_too_large_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch, dtype, free: float,
                               words: list[str]) -> None:
    monkeypatch.setattr(memory_fit, 'available_bytes', lambda device: int(free * GIB))
    with pytest.raises(UserError) as caught:
        check_fits(folder, CPU, dtype)
    assert all(word in str(caught.value) for word in words)
    assert '\n' not in str(caught.value)


def test_overhead_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = needed_bytes(folder, torch.float32)
    needed = int(weights * 1.1) + GIB
    monkeypatch.setattr(memory_fit, 'available_bytes', lambda device: needed)
    check_fits(folder, CPU, torch.float32)
    monkeypatch.setattr(memory_fit, 'available_bytes', lambda device: needed - 1)
    with pytest.raises(UserError, match='GiB are free'):
        check_fits(folder, CPU, torch.float32)


def test_memory_of_this_machine() -> None:
    assert 1 << 20 < available_bytes(CPU) < 1 << 50


def test_four_bits_need_cuda() -> None:
    with pytest.raises(UserError, match='need a CUDA device, not cpu'):
        check_four_bit(CPU)


@pytest.mark.skipif(importlib.util.find_spec('bitsandbytes') is not None,
                    reason='bitsandbytes is installed')
def test_four_bits_need_bitsandbytes() -> None:
    with pytest.raises(UserError, match='pip install bitsandbytes'):
        check_four_bit(torch.device('cuda'))


@pytest.mark.parametrize('content', [
    b'', b'short', (1 << 40).to_bytes(8, 'little') + b'{}', (2).to_bytes(8, 'little') + b'[]',
    (5).to_bytes(8, 'little') + b'{"a":'])
def test_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / 'model.safetensors'
    file.write_bytes(content)
    with pytest.raises(UserError, match='cut short or no safetensors file'):
        read_header(file)


def test_a_file_that_ends_early(folder: Path) -> None:
    file = folder / 'model-2.safetensors'
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match='cut short'):
        needed_bytes(folder, torch.float32)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='holds no safetensors files'):
        needed_bytes(tmp_path, torch.float32)


def test_folder_of_a_name(tmp_path: Path) -> None:
    assert local_folder(str(tmp_path), 'model') == tmp_path
    with pytest.raises(UserError, match='no weights named'):
        local_folder(str(tmp_path / 'nowhere'), 'model')


def test_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Qwen2Config(hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                         num_attention_heads=1, num_key_value_heads=1, vocab_size=8,
                         bos_token_id=None, eos_token_id=None)
    saved = Qwen2ForCausalLM(config)
    saved.save_pretrained(tmp_path)
    model = load_fitting(Qwen2ForCausalLM, tmp_path, 'language model', 'cpu', 'bfloat16')
    assert not model.training
    for name, value in saved.state_dict().items():
        assert torch.equal(model.state_dict()[name], value.bfloat16())
    assert not any(value.requires_grad for value in model.parameters())
    monkeypatch.setattr(memory_fit, 'available_bytes', lambda device: 0)
    with pytest.raises(UserError, match=r'0\.0 GiB are free'):
        load_fitting(Qwen2ForCausalLM, tmp_path, 'language model', 'cpu')


def test_index_of_files_that_are_not_there(tmp_path: Path) -> None:
    config = Qwen2Config(hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                         num_attention_heads=1, num_key_value_heads=1, vocab_size=8,
                         bos_token_id=None, eos_token_id=None)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path, max_shard_size=600)
    assert json.loads((tmp_path / 'model.safetensors.index.json').read_text())['weight_map']
    next(tmp_path.glob('model-00002*')).unlink()
    with pytest.raises(UserError, match='holds no readable language model'):
        load_fitting(Qwen2ForCausalLM, tmp_path, 'language model', 'cpu')
