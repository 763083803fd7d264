"""Reading a released checkpoint: its parts, and files that are none."""

from __future__ import annotations

import zipfile
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.virst.released_checkpoint import plain_name, read_released, split_released


def test_every_tensor_has_its_part(released) -> None:
    weights = read_released(released.checkpoint)
    parts = vars(weights)
    assert {name: len(part) for name, part in parts.items()} == {
        'sam2': 335, 'initial_fusion': 19, 'frame_prompts': 54, 'vision': 30, 'projector': 4,
        'decoder': 27, 'low_rank': 28, 'unused': 2}
    assert sum(map(len, parts.values())) == len(released.state)
    value = 'base_model.model.model.layers.1.mlp.up_proj.lora_A.default.weight'
    assert torch.equal(weights.low_rank['model.layers.1.mlp.up_proj.lora_A.weight'],
                       released.state[value])
    value = 'base_model.model.model.layers.1.mlp.up_proj.base_layer.weight'
    assert torch.equal(weights.decoder['model.layers.1.mlp.up_proj.weight'],
                       released.state[value])


@pytest.mark.parametrize('key', [
    'model.norm.weight', 'base_model.model.model.norm.weight',
    'module.base_model.model.model.norm.weight', 'module.model.norm.weight'])
def test_wrappers(key: str) -> None:
    assert plain_name(key) == 'model.norm.weight'


def test_unknown_tensor() -> None:
    with pytest.raises(UserError, match=r'unknown weight .model\.text_projection'):
        split_released({'model.text_projection': torch.ones(1)})


class Harmful:
    """Would write a file when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_code_is_not_run(released, tmp_path: Path) -> None:
    trace = tmp_path / 'trace'
    torch.save({'model_state_dict': released.state, 'extra': Harmful(trace)}, tmp_path / 'a.pt')
    with pytest.raises(UserError, match='holds more than tensors and may run code') as caught:
        read_released(tmp_path / 'a.pt')
    assert not trace.exists()
    assert '\n' not in str(caught.value)


def test_settings_of_the_training_are_not_read(tmp_path: Path) -> None:
    torch.save({'model_state_dict': {}, 'args': Namespace(lr=1)}, tmp_path / 'a.pt')
    with pytest.raises(UserError, match="save only its 'model_state_dict'"):
        read_released(tmp_path / 'a.pt')


def test_files_of_the_old_form(released, tmp_path: Path) -> None:
    torch.save({'model_state_dict': released.state}, tmp_path / 'old.pt',
               _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(tmp_path / 'old.pt')
    assert len(read_released(tmp_path / 'old.pt').sam2) == 335


@pytest.mark.parametrize('share', [0.0, 0.3, 0.999])
def test_cut_short(released, tmp_path: Path, share: float) -> None:
    content = released.checkpoint.read_bytes()
    (tmp_path / 'cut.pt').write_bytes(content[:int(len(content) * share)])
    with pytest.raises(UserError, match=r'cut\.pt is cut short or no checkpoint') as caught:
        read_released(tmp_path / 'cut.pt')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('content', [
    {'model': {}}, [1, 2], {'model_state_dict': [torch.ones(1)]},
    {'model_state_dict': {'model.norm.weight': 3}}])
def test_other_contents(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / 'other.pt')
    with pytest.raises(UserError, match="it has no 'model_state_dict' with tensors"):
        read_released(tmp_path / 'other.pt')


def test_a_language_model_alone(tmp_path: Path) -> None:
    torch.save({'model_state_dict': {'model.norm.weight': torch.ones(1)}}, tmp_path / 'other.pt')
    with pytest.raises(UserError, match=r'no weights of model\.seg_model\.\*'):
        read_released(tmp_path / 'other.pt')


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no checkpoint'):
        read_released(tmp_path / 'nowhere.pt')
    with pytest.raises(UserError, match='no checkpoint'):
        read_released(tmp_path)
