"""The file of a trained head: it comes back as it was, and nothing else is taken for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
)

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.time2general.model import Time2General
from vseg_ros.time2general.saved import (
    digest,
    load_time2general,
    new_time2general,
    read_time2general,
    write_time2general,
)

NewModel = Callable[..., Time2General]


@pytest.fixture
def clip(video: Callable[..., list[Frame]]) -> Tensor:
    return torch.from_numpy(np.stack([frame.image for frame in video(3)]))[None]


def content(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework='pt') as stored:
        return {key: stored.get_tensor(key) for key in stored.keys()}, stored.metadata()  # noqa: SIM118


def refusal(path: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        load_time2general(str(path))
    assert '\n' not in str(caught.value)
    return str(caught.value)


def assert_alike(model: Time2General, other: Time2General, clip: Tensor) -> None:
    """Equal but for weights in fp16."""
    found, expected = model(clip), other(clip)
    assert (found - expected).abs().mean() < 0.02
    assert (found.argmax(2) == expected.argmax(2)).float().mean() > 0.97


@pytest.mark.parametrize('changes', [{}, {'memory': False, 'modulation': False},
                                     {'blocks': (2,), 'clip_length': 2, 'upsampling': 0}])
def test_comes_back_as_it_was(new_model: NewModel, clip: Tensor, tmp_path: Path,
                              changes: dict[str, object]) -> None:
    model = new_model(**changes)
    write_time2general(model, tmp_path / 'model.safetensors')
    loaded = load_time2general(str(tmp_path / 'model.safetensors'))
    clip = clip[:, :model.head.settings.clip_length]
    assert_alike(loaded, model, clip)
    assert loaded.head.settings == model.head.settings
    assert loaded.label_set.names == model.label_set.names
    assert not loaded.training
    assert not any(each.requires_grad for each in loaded.parameters())
    assert {each.dtype for each in loaded.parameters()} == {torch.float32}
    write_time2general(loaded, tmp_path / 'again.safetensors')
    (first, described), (second, again) = (
        content(tmp_path / f'{name}.safetensors') for name in ('model', 'again'))
    assert described == again
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_file_holds_the_head_alone_in_half_precision(new_model: NewModel,
                                                         tmp_path: Path) -> None:
    model = new_model()
    write_time2general(model, tmp_path / 'model.safetensors')
    tensors, metadata = content(tmp_path / 'model.safetensors')
    assert tensors.keys() == dict(model.head.named_parameters()).keys()
    assert {each.dtype for each in tensors.values()} == {torch.float16}
    assert json.loads(metadata['classes']) == ['road', 'sky', 'car', 'person']


def test_segmenter_as_backbone(new_model: NewModel, clip: Tensor, segformer_file: Path,
                               tmp_path: Path) -> None:
    model = new_model(backbone=str(segformer_file), blocks=(1, 2, 4))
    images = clip[:, :, :32, :64].repeat(1, 1, 2, 1, 1)
    write_time2general(model, tmp_path / 'model.safetensors')
    assert_alike(read_time2general(tmp_path / 'model.safetensors'), model, images)


def test_text_embeddings_travel_and_clip_need_not(new_model: NewModel, clip: Tensor,
                                                  tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    words = [*'abcdefghijklmnopqrstuvwxyz.,']
    words += [f'{letter}</w>' for letter in words] + ['<|startoftext|>', '<|endoftext|>']
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])
    tokenizer.save_pretrained(tmp_path / 'clip')
    CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, projection_dim=12, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )).save_pretrained(tmp_path / 'clip')
    model = new_model(text_prior=str(tmp_path / 'clip'))
    assert model.head.text is not None
    write_time2general(model, tmp_path / 'model.safetensors')
    shutil.rmtree(tmp_path / 'clip')
    shutil.rmtree(tmp_path / 'cache')
    loaded = load_time2general(str(tmp_path / 'model.safetensors'))
    assert loaded.head.text is not None
    torch.testing.assert_close(loaded.head.text.embeddings, model.head.text.embeddings,
                               atol=1e-3, rtol=1e-3)
    assert_alike(loaded, model, clip)
    tensors, metadata = content(tmp_path / 'model.safetensors')
    for wrong in (tensors['text.embeddings'][0], tensors['text.embeddings'][:2]):
        save_file({**tensors, 'text.embeddings': wrong.clone()}, tmp_path / 'bad.safetensors',
                  metadata)
        assert 'text embeddings' in refusal(tmp_path / 'bad.safetensors')
    del tensors['text.embeddings']
    save_file(tensors, tmp_path / 'bad.safetensors', metadata)
    assert 'does not fit its own metadata' in refusal(tmp_path / 'bad.safetensors')


def depth_folder(folder: Path, patch: int = 14) -> Path:
    DepthAnythingForDepthEstimation(DepthAnythingConfig(
        backbone_config=Dinov2Config(
            hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=4 * patch,
            patch_size=patch, out_indices=[1, 2, 3, 4], reshape_hidden_states=False),
        patch_size=patch, reassemble_hidden_size=16, neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=4, head_hidden_size=4)).save_pretrained(folder)
    return folder


def test_depth_prior_of_another_training_is_refused(new_model: NewModel, clip: Tensor,
                                                    tmp_path: Path) -> None:
    folder = depth_folder(tmp_path / 'depth')
    model = new_model(depth_prior=str(folder))
    write_time2general(model, tmp_path / 'model.safetensors')
    assert_alike(load_time2general(str(tmp_path / 'model.safetensors')), model, clip)
    torch.manual_seed(9)
    depth_folder(folder)
    assert f'was trained on another {folder}' in refusal(tmp_path / 'model.safetensors')


def test_depth_prior_on_another_grid_is_refused(model_settings: Callable[..., object],
                                                tmp_path: Path) -> None:
    from vseg_ros.labels import DRIVING

    folder = depth_folder(tmp_path / 'depth', 7)
    with pytest.raises(UserError, match='depth prior reads maps at strides 7, 7'):
        new_time2general(model_settings(depth_prior=str(folder)), DRIVING)  # type: ignore[arg-type]


def test_another_backbone_is_refused(new_model: NewModel, dinov2_folder: Path,
                                     tmp_path: Path) -> None:
    folder = tmp_path / 'mine'
    shutil.copytree(dinov2_folder, folder)
    write_time2general(new_model(backbone=str(folder)), tmp_path / 'model.safetensors')
    load_time2general(str(tmp_path / 'model.safetensors'))
    with safe_open(folder / 'model.safetensors', framework='pt') as stored:
        state = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    name = next(key for key in state if 'layer.0' in key and key.endswith('weight'))
    state[name] = state[name] + 1e-3
    save_file(state, folder / 'model.safetensors', {'format': 'pt'})
    assert 'was trained on another' in refusal(tmp_path / 'model.safetensors')
    shutil.rmtree(folder)
    assert 'mine' in refusal(tmp_path / 'model.safetensors')


def test_digest_sees_every_value(new_model: NewModel) -> None:
    model = new_model()
    before = digest(model.backbone)
    assert digest(new_model().backbone) == before
    with torch.no_grad():
        next(model.backbone.parameters()).view(-1)[-1] += 1e-4
    assert digest(model.backbone) != before
    another = new_model()
    another.backbone.mean += 1
    assert digest(another.backbone) != before


@pytest.mark.parametrize('cut', [0, 4, 200, -1, -100])
def test_a_file_cut_short(model_file: Callable[..., Path], cut: int) -> None:
    path = model_file()
    path.write_bytes(path.read_bytes()[:cut])
    assert 'cannot be read as safetensors' in refusal(path)


@pytest.mark.parametrize(('key', 'value'), [
    ('settings', None), ('classes', None), ('settings', '{'), ('settings', '{"queries": 0}'),
    ('settings', '{"unknown": 1}'), ('classes', '["road"'), ('classes', 'null'), ('classes', '7'),
    ('classes', '[]'), ('classes', '["road", "sky"]')])
def test_damaged_metadata(model_file: Callable[..., Path], key: str, value: str | None) -> None:
    path = model_file()
    tensors, metadata = content(path)
    if value is None:
        del metadata[key]
    else:
        metadata[key] = value
    save_file(tensors, path, metadata)
    assert 'does not fit its own metadata' in refusal(path)


@pytest.mark.parametrize(('field', 'value'), [
    ('queries', 7), ('width', 24), ('heads', 1), ('decoder_blocks', 3), ('clip_length', 4),
    ('blocks', [3]), ('upsampling', 2), ('modulation', False)])
def test_settings_of_another_head(model_file: Callable[..., Path], field: str,
                                  value: object) -> None:
    path = model_file()
    tensors, metadata = content(path)
    metadata['settings'] = json.dumps({**json.loads(metadata['settings']), field: value})
    save_file(tensors, path, metadata)
    assert 'does not fit its own metadata' in refusal(path)


def test_tensors_that_are_missing_or_of_another_shape(model_file: Callable[..., Path]) -> None:
    path = model_file()
    tensors, metadata = content(path)
    for name in ('stability.queries', 'decoder.head.classify.weight'):
        for changed in ({}, {name: torch.zeros(1)}):
            rest = {key: value for key, value in tensors.items() if key != name}
            save_file({**rest, **changed}, path, metadata)
            assert 'does not fit its own metadata' in refusal(path)
    save_file({**tensors, 'more': torch.zeros(1)}, path, metadata)
    assert 'does not fit its own metadata' in refusal(path)


def test_what_is_no_time2general(segformer_file: Path, dinov2_folder: Path,
                                 tmp_path: Path) -> None:
    for name in (segformer_file, 'driving-b0', dinov2_folder, 'owner/model'):
        assert 'holds no Time2General' in refusal(name)
    assert 'gone.safetensors' in refusal(tmp_path / 'gone.safetensors')
    save_file({'x': torch.zeros(1)}, tmp_path / 'bare.safetensors')
    assert 'holds no Time2General' in refusal(tmp_path / 'bare.safetensors')
