"""The text prior: embeddings against CLIP called sentence by sentence, the cache, the bias."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from vseg_ros.errors import UserError
from vseg_ros.time2general import text_prior
from vseg_ros.time2general.text_prior import TEMPLATES, TextPrior, class_embeddings, prompts

NAMES = ('road', 'traffic light', 'truck_bus')
TEXT = {'hidden_size': 16, 'intermediate_size': 24, 'num_attention_heads': 2,
        'num_hidden_layers': 2, 'max_position_embeddings': 77, 'projection_dim': 12}


def save_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write CLIP's tokenizer with an alphabet of letters, and one word of more."""
    letters = 'abcdefghijklmnopqrstuvwxyz.,'
    words = [*letters, *(f'{letter}</w>' for letter in letters), 'ro', 'roa', 'road</w>',
             '<|startoftext|>', '<|endoftext|>']
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)},
                              merges=[('r', 'o'), ('ro', 'a'), ('roa', 'd</w>')])
    tokenizer.save_pretrained(folder)
    return tokenizer


def text_config(tokenizer: CLIPTokenizer) -> dict[str, int]:
    return {**TEXT, 'vocab_size': len(tokenizer), 'bos_token_id': tokenizer.bos_token_id,
            'eos_token_id': tokenizer.eos_token_id, 'pad_token_id': tokenizer.pad_token_id}


def spread(model: nn.Module) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.3 * torch.randn(value.shape))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'vseg_ros'


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / 'clip'
    model = CLIPTextModelWithProjection(CLIPTextConfig(**text_config(save_tokenizer(folder))))
    spread(model)
    model.save_pretrained(folder)
    return folder


def literal(folder: Path, names: tuple[str, ...]) -> torch.Tensor:
    """Embed sentence by sentence, so without any padding."""
    model = CLIPTextModelWithProjection.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    rows = []
    for name in names:
        total = torch.zeros(12)
        for template in TEMPLATES:
            spoken = {'truck_bus': 'truck or bus'}.get(name, name)
            words = tokenizer(template.replace('{}', spoken), return_tensors='pt')
            with torch.no_grad():
                embedded = model(**words).text_embeds[0]
            total += embedded / embedded.square().sum().sqrt()
        rows.append(total / total.square().sum().sqrt())
    return torch.stack(rows)


def test_against_clip_sentence_by_sentence(clip: Path) -> None:
    embeddings = class_embeddings(str(clip), NAMES)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings, literal(clip, NAMES), rtol=1e-4, atol=1e-5)
    assert (embeddings[0] - embeddings[1]).norm() > 0.05


def test_checkpoint_of_both_towers(tmp_path: Path) -> None:
    folder = tmp_path / 'both'
    text = text_config(save_tokenizer(folder))
    model = CLIPModel(CLIPConfig(
        text_config=CLIPTextConfig(**text).to_dict(), projection_dim=12,
        vision_config=CLIPVisionConfig(hidden_size=16, intermediate_size=16, image_size=32,
                                       num_hidden_layers=1, num_attention_heads=2,
                                       projection_dim=12).to_dict()))
    spread(model)
    model.save_pretrained(folder)
    torch.testing.assert_close(class_embeddings(str(folder), NAMES), literal(folder, NAMES),
                               rtol=1e-4, atol=1e-5)


def test_prompts_say_the_name_in_every_template() -> None:
    assert prompts('traffic light')[0] == 'a photo of a traffic light.'
    assert prompts('other_thing')[0] == 'a photo of a other thing.'
    assert len({*prompts('truck_bus')}) == len(TEMPLATES)
    assert all('truck or bus' in sentence for sentence in prompts('truck_bus'))


def test_clip_is_needed_once(clip: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = class_embeddings(str(clip), NAMES)
    assert len(list(cache.iterdir())) == 1

    def loads(*_: object) -> None:
        raise AssertionError('CLIP was loaded')
    with monkeypatch.context() as patched:
        patched.setattr(text_prior, 'load_pretrained', loads)
        assert torch.equal(class_embeddings(str(clip), NAMES), first)
        with pytest.raises(AssertionError, match='CLIP was loaded'):
            class_embeddings(str(clip), NAMES[::-1])
        patched.setattr(text_prior, 'TEMPLATES', ('a {}.',))
        with pytest.raises(AssertionError, match='CLIP was loaded'):
            class_embeddings(str(clip), NAMES)


def test_other_weights_in_the_same_folder_are_noticed(clip: Path) -> None:
    before = class_embeddings(str(clip), NAMES)
    state = load_file(clip / 'model.safetensors')
    save_file({name: value + 0.1 * torch.randn_like(value) for name, value in state.items()},
              clip / 'model.safetensors', {'format': 'pt'})
    assert not torch.allclose(class_embeddings(str(clip), NAMES), before, atol=1e-3)


@pytest.mark.parametrize('content', [b'', b'broken', None])
def test_damaged_cache_is_made_anew(clip: Path, cache: Path, content: bytes | None) -> None:
    expected = class_embeddings(str(clip), NAMES)
    [kept] = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:-8] if content is None else content)
    assert torch.equal(class_embeddings(str(clip), NAMES), expected)
    assert torch.equal(load_file(kept)['embeddings'], expected)


def test_cache_that_cannot_be_written(clip: Path, cache: Path,
                                      caplog: pytest.LogCaptureFixture) -> None:
    expected = class_embeddings(str(clip), NAMES)
    [kept] = cache.iterdir()
    kept.unlink()
    kept.mkdir()  # no file can take the place of a folder
    assert torch.equal(class_embeddings(str(clip), NAMES), expected)
    assert 'are not kept for the next time' in caplog.text


def test_home_without_a_cache(clip: Path, tmp_path: Path,
                              monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    class_embeddings(str(clip), NAMES)
    assert len(list(tmp_path.glob('vseg_ros-*/text-*.safetensors'))) == 1


def test_what_is_no_clip(clip: Path, cache: Path, tmp_path: Path,
                         monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(name: object) -> str:
        with pytest.raises(UserError) as caught:
            class_embeddings(str(name), NAMES)
        assert '\n' not in str(caught.value)
        return str(caught.value)

    shutil.copytree(clip, tmp_path / 'mute')
    (tmp_path / 'mute' / 'tokenizer.json').unlink()
    (tmp_path / 'mute' / 'tokenizer_config.json').unlink()
    assert 'holds no readable tokenizer' in refusal(tmp_path / 'mute')
    state = load_file(clip / 'model.safetensors')
    del state['text_projection.weight']
    save_file(state, clip / 'model.safetensors', {'format': 'pt'})
    assert 'lacks 1 of the weights of a CLIP text tower' in refusal(clip)
    (clip / 'config.json').write_text('{')
    assert 'holds no readable CLIP text tower' in refusal(clip)
    assert 'driving-b0 is no CLIP text tower' in refusal('driving-b0')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    assert "cannot load 'openai/clip-vit-base-patch32' from the hub" in refusal(
        'openai/clip-vit-base-patch32')
    assert not list(cache.iterdir())


def test_bias_against_the_paper() -> None:
    torch.manual_seed(0)
    prior = TextPrior(torch.randn(3, 12), 8)
    assert prior.alpha.item() == pytest.approx(0.1)
    with torch.no_grad():
        prior.alpha.fill_(0.7)
    queries = torch.randn(5, 8)
    weight, bias = prior.projection.weight, prior.projection.bias
    context = torch.zeros(8)
    for row in prior.embeddings:
        context += (weight @ row + bias) / 3
    biased = prior(queries)
    for i in range(5):
        torch.testing.assert_close(biased[i], queries[i] + 0.7 * context)


def test_what_learns_and_what_travels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    embeddings = torch.randn(3, 12)
    prior = TextPrior(embeddings, 8)
    prior(torch.zeros(5, 8)).square().sum().backward()
    assert {name for name, p in prior.named_parameters() if p.grad is not None} == {
        'alpha', 'projection.weight', 'projection.bias'}
    assert prior.alpha.grad.abs() > 0
    save_file(prior.state_dict(), tmp_path / 'prior.safetensors')
    loaded = TextPrior(torch.zeros(3, 12), 8)
    loaded.load_state_dict(load_file(tmp_path / 'prior.safetensors'))
    assert torch.equal(loaded.embeddings, embeddings)
    assert torch.equal(loaded.context(), prior.context())
