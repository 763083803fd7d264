"""Loading a VIRST by name: files, converted folders of both families, what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    InternVLConfig,
    InternVLForConditionalGeneration,
    Qwen2Config,
)

from vseg_ros.errors import UserError
from vseg_ros.virst.chat_language_model import ChatLanguageModel
from vseg_ros.virst.convert import convert_virst
from vseg_ros.virst.frame_prompts import FramePrompter
from vseg_ros.virst.initial_fusion import InitialFusion
from vseg_ros.virst.language_model import LanguageClip
from vseg_ros.virst.loading import load_virst
from vseg_ros.virst.video_chat_flash import VideoChatFlash

CPU = torch.device('cpu')
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3)).astype(np.uint8)


@pytest.fixture(scope='module')
def folder(released, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('converted') / 'virst'
    convert_virst(checkpoint=released.checkpoint, base=str(released.base),
                  sam2=str(released.sam2), out=out)
    return out


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(folder, tmp_path / 'broken'))


def ask(model, width: int) -> torch.Tensor:
    """Prompts for one question about two frames of noise, without the image encoder."""
    generator = torch.Generator().manual_seed(0)
    clip = LanguageClip(FRAMES, torch.randn(2, 256, 64, 64, generator=generator))
    with torch.no_grad():
        asked = model.ask(model.fuse_clips([clip]), ['the bus'])
    assert asked.coarse is None
    assert asked.inputs.embeddings.shape[2] == width
    assert torch.isfinite(asked.prompts).all()
    return asked.prompts


def test_a_file(tiny_virst: Path) -> None:
    model = load_virst(str(tiny_virst), CPU)
    assert (model.frames, model.several, model.coarse) == (3, False, True)
    assert not model.training


def test_a_converted_folder(released, folder: Path) -> None:
    model = load_virst(str(folder), CPU)
    assert isinstance(model.language, VideoChatFlash)
    assert (model.frames, model.several, model.coarse) == (8, True, False)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    state = released.state
    prefix = 'base_model.model.model.'
    assert torch.equal(model.initial.gate, state[f'{prefix}initial_seg_fusion_module.gate'])
    assert torch.equal(model.sam.no_memory_embedding, state[f'{prefix}seg_model.no_mem_embed'])
    assert ask(model, 64).shape == (1, 10, 2, 256)


def test_a_compact_chat_model(released, folder: Path, tmp_path: Path) -> None:
    """The same folder with another family of language model in it."""
    root = tmp_path / 'chat'
    (root / 'language_model').mkdir(parents=True)
    shutil.copytree(folder / 'sam2', root / 'sam2')
    torch.manual_seed(0)
    InternVLForConditionalGeneration(InternVLConfig(
        vision_config={'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 2,
                       'intermediate_size': 32, 'image_size': [32, 32], 'patch_size': [4, 4]},
        text_config={'model_type': 'qwen3', 'hidden_size': 32, 'num_hidden_layers': 2,
                     'num_attention_heads': 2, 'num_key_value_heads': 1, 'head_dim': 16,
                     'intermediate_size': 48, 'vocab_size': 270, 'bos_token_id': None,
                     'eos_token_id': 258, 'pad_token_id': 256},
        image_token_id=261)).save_pretrained(root / 'language_model')
    tokenizer = AutoTokenizer.from_pretrained(str(released.base), config=Qwen2Config())
    tokenizer.add_tokens(['<img>', '</img>', '<IMG_CONTEXT>'], special_tokens=True)
    tokenizer.save_pretrained(root / 'language_model')
    parts = {'initial_fusion': InitialFusion(256, 32), 'frame_prompts': FramePrompter(32)}
    save_file({f'{part}.{name}': value.clone() for part, module in parts.items()
               for name, value in module.state_dict().items()}, root / 'fusion.safetensors')
    config = json.loads((folder / 'config.json').read_text())
    config['language_model'] = {'family': 'chat', 'folder': 'language_model', 'width': 32,
                                'prompts': 10}
    (root / 'config.json').write_text(json.dumps(config))
    model = load_virst(str(root), CPU)
    assert isinstance(model.language, ChatLanguageModel)
    assert ask(model, 32).shape == (1, 10, 2, 256)


@pytest.mark.parametrize(('missing', 'said'), [
    ('config.json', 'no readable config.json'),
    ('fusion.safetensors', 'lacks a part of its model'),
    ('sam2', 'sam2'), ('sam2/model.safetensors', 'sam2'),
    ('language_model', 'language_model'), ('language_model/vision.safetensors', 'vision'),
    ('language_model/model.safetensors', 'language_model')])
def test_a_missing_part_is_named_in_one_line(broken: Path, missing: str, said: str) -> None:
    path = broken / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(UserError, match=said) as caught:
        load_virst(str(broken), CPU)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(('key', 'said'), [
    ('model_type', 'holds no VIRST'), ('language_model', 'lacks a part'),
    ('sam2', 'lacks a part'), ('fusion', 'lacks a part')])
def test_a_description_that_lacks_something(broken: Path, key: str, said: str) -> None:
    config = json.loads((broken / 'config.json').read_text())
    del config[key]
    (broken / 'config.json').write_text(json.dumps(config))
    with pytest.raises(UserError, match=said):
        load_virst(str(broken), CPU)


def test_a_family_that_is_not_known(broken: Path) -> None:
    config = json.loads((broken / 'config.json').read_text())
    config['language_model']['family'] = 'parrot'
    (broken / 'config.json').write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"of the family 'parrot': known are video-chat"):
        load_virst(str(broken), CPU)


@pytest.mark.parametrize('name', ['initial_fusion.gate', 'frame_prompts.projection.bias',
                                  'frame_prompts.grid.convolutions.0.weight'])
def test_a_fusion_that_lacks_a_weight(broken: Path, name: str) -> None:
    path = broken / 'fusion.safetensors'
    state = load_file(path)
    name = name if name in state else next(each for each in state if each.startswith(
        name.split('.', 1)[0]) and each.endswith('weight'))
    del state[name]
    save_file(state, path)
    with pytest.raises(UserError, match='fusion') as caught:
        load_virst(str(broken), CPU)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(('name', 'said'), [
    ('no-such-name', 'no weights named'), ('owner/model', 'is no VIRST'),
    ('driving-b0', 'holds no VIRST')])
def test_names_that_are_no_virst(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_virst(name, CPU)
