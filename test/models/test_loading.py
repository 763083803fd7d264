"""Loading segmenters: our own files, folders of transformers, hub ids, and what is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import ResNetConfig, SegformerForSemanticSegmentation
from transformers.models.segformer import SegformerForImageClassification

from vseg_ros.errors import UserError
from vseg_ros.labels import DRIVING, LabelSet
from vseg_ros.models.loading import load_segmenter, write_segmenter
from vseg_ros.models.segformer import SEGFORMER_VARIANTS, new_segformer
from vseg_ros.models.segmenter import ImageSegmenter

TINY = {'hidden_sizes': [8, 16, 20, 24], 'depths': [1, 1, 1, 1],
        'num_attention_heads': [1, 2, 2, 2], 'decoder_hidden_size': 16}


@pytest.fixture
def segmenter(monkeypatch: pytest.MonkeyPatch) -> ImageSegmenter:
    monkeypatch.setitem(SEGFORMER_VARIANTS, 'b0', TINY)
    torch.manual_seed(0)
    return new_segformer(DRIVING, 'b0').eval()


@pytest.fixture
def file(segmenter: ImageSegmenter, tmp_path: Path) -> Path:
    path = tmp_path / 'segmenter.safetensors'
    write_segmenter(segmenter, path, 'b0')
    return path


@pytest.fixture
def folder(make_hf_segformer: Callable[[], SegformerForSemanticSegmentation],
           tmp_path: Path) -> Path:
    make_hf_segformer().save_pretrained(tmp_path / 'folder')
    return tmp_path / 'folder'


def rewrite(path: Path, **changes: str | None) -> None:
    with safe_open(path, framework='pt') as stored:
        metadata = {**stored.metadata(), **changes}
    save_file(load_file(path), path, {k: v for k, v in metadata.items() if v is not None})


def refusal(name: object) -> str:
    """Return the one line that refuses to load `name`."""
    with pytest.raises(UserError) as caught:
        load_segmenter(str(name))
    line = str(caught.value)
    assert '\n' not in line
    return line


def test_our_form_keeps_every_weight_in_fp16(segmenter: ImageSegmenter, file: Path) -> None:
    loaded = load_segmenter(str(file))
    assert loaded.label_set == DRIVING
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    state = loaded.state_dict()
    assert state.keys() == segmenter.state_dict().keys()
    for name, value in segmenter.state_dict().items():
        assert state[name].dtype == value.dtype
        assert torch.equal(state[name], value.half().to(value.dtype)), name
    assert file.stat().st_size < 2.2 * sum(v.numel() for v in state.values()) + 30_000


def test_folder_of_transformers(make_hf_segformer: Callable[[], SegformerForSemanticSegmentation],
                                folder: Path, make_image: Callable[..., np.ndarray]) -> None:
    loaded = load_segmenter(str(folder))
    assert loaded.label_set == LabelSet.from_names(('road', 'sky', 'car', 'lamp post', 'tree'))
    images = torch.from_numpy(make_image())[None]
    with torch.no_grad():
        expected = make_hf_segformer()(loaded.normalize(images)).logits
        torch.testing.assert_close(loaded(images).logits, expected, rtol=1e-4, atol=1e-4)


def test_normalisation_is_that_of_the_image_processor(segmenter: ImageSegmenter) -> None:
    image = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    expected = (torch.tensor([0, 128 / 255, 1]) - torch.tensor([0.485, 0.456, 0.406])
                ) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(segmenter.normalize(image)[0, :, 0, 0], expected)


@pytest.mark.parametrize('kept', [0, 4, 8, 9, 100, 0.3, 0.5, 0.999])
def test_truncated_file(file: Path, kept: float) -> None:
    content = file.read_bytes()
    length = kept if isinstance(kept, int) else int(kept * len(content))
    file.write_bytes(content[:length])
    assert 'cannot be read as safetensors' in refusal(file)


def test_flipped_bytes_load_or_are_refused(file: Path) -> None:
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], 'little')
    random = np.random.default_rng(0)
    refused = 0
    for position in [*range(8), *random.integers(8, header, 40)]:
        broken = bytearray(content)
        broken[position] ^= int(random.integers(1, 256))
        file.write_bytes(broken)
        with suppress(UserError):
            load_segmenter(str(file))
            continue
        refused += 1
    assert refused > 30


@pytest.mark.parametrize('changes', [
    {'classes': None}, {'classes': 'road'}, {'classes': '[]'}, {'classes': '7'},
    {'classes': '["road"]'}, {'variant': None}, {'variant': 'b9'}])
def test_metadata_that_does_not_fit(file: Path, changes: dict[str, str | None]) -> None:
    rewrite(file, **changes)
    assert 'does not fit its own metadata' in refusal(file)


@pytest.mark.parametrize('changes', [
    {'backbone': '{'}, {'backbone': '{}'}, {'backbone': '{"model_type": "nothing"}'},
    {'backbone': '{"model_type": "resnet", "hidden_sizes": "x"}'}, {'width': 'wide'},
    {'width': '24'}, {'key_width': '-1'}, {'backbone': None}])
def test_ocrnet_metadata_that_does_not_fit(ocrnet_file: Path,
                                           changes: dict[str, str | None]) -> None:
    rewrite(ocrnet_file, **changes)
    assert 'does not fit its own metadata' in refusal(ocrnet_file)


@pytest.mark.parametrize('architecture', [None, 'deeplab'])
def test_file_of_another_kind(file: Path, architecture: str | None) -> None:
    rewrite(file, architecture=architecture)
    line = refusal(file)
    assert 'holds no image segmenter (segformer or ocrnet)' in line
    assert '`vseg train iss`' in line


def test_file_without_metadata(tmp_path: Path) -> None:
    save_file({'a': torch.zeros(2)}, tmp_path / 'a.safetensors')
    assert 'holds no image segmenter' in refusal(tmp_path / 'a.safetensors')


def test_folder_that_holds_nothing_to_load(tmp_path: Path) -> None:
    assert 'is no SegFormer saved by transformers' in refusal(tmp_path)


def test_folder_with_another_architecture(tmp_path: Path) -> None:
    config = ResNetConfig()
    config.architectures = ['ResNetForImageClassification']
    config.save_pretrained(tmp_path)
    assert 'is a ResNetForImageClassification, not a SegFormer' in refusal(tmp_path)


def test_image_classifier_has_no_decoder(
        make_hf_segformer: Callable[[], SegformerForSemanticSegmentation], tmp_path: Path) -> None:
    SegformerForImageClassification(make_hf_segformer().config).save_pretrained(tmp_path)
    assert 'is a SegformerForImageClassification, not a SegFormer for seg' in refusal(tmp_path)


def test_folder_that_lacks_weights(folder: Path) -> None:
    state = load_file(folder / 'model.safetensors')
    kept = {name: value for name, value in state.items() if not name.startswith('decode_head')}
    save_file(kept, folder / 'model.safetensors', {'format': 'pt'})
    assert 'lacks ' in refusal(folder)


@pytest.mark.parametrize('damage', ['config', 'truncated', 'shapes', 'gone'])
def test_damaged_folder(folder: Path, damage: str) -> None:
    config, weights = folder / 'config.json', folder / 'model.safetensors'
    if damage == 'config':
        config.write_text('{')
    elif damage == 'truncated':
        weights.write_bytes(weights.read_bytes()[:999])
    elif damage == 'gone':
        weights.unlink()
    else:
        config.write_text(json.dumps({**json.loads(config.read_text()),
                                      'decoder_hidden_size': 20}))
    assert 'is no SegFormer saved by transformers' in refusal(folder)


def test_hub_id_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    line = refusal('nobody/no-such-segformer')
    assert "cannot load 'nobody/no-such-segformer' from the hub" in line
    assert 'hf download nobody/no-such-segformer --local-dir DIR' in line
