"""InternVL with [SEG] tokens, on a tiny random model saved as the published ones are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    InternVLConfig,
    InternVLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from vseg_ros.errors import UserError
from vseg_ros.virst.chat_language_model import ChatLanguageModel
from vseg_ros.virst.language_model import LanguageClip

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3)).astype(np.uint8)
QUESTION = 'the bus behind the tree'
MARKS = ['<img>', '</img>', '<IMG_CONTEXT>']
ROWS = 270


def tiny_config(rows: int = ROWS) -> InternVLConfig:
    return InternVLConfig(
        vision_config={'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 2,
                       'intermediate_size': 32, 'image_size': [32, 32], 'patch_size': [4, 4]},
        text_config={'model_type': 'qwen3', 'hidden_size': 32, 'num_hidden_layers': 2,
                     'num_attention_heads': 2, 'num_key_value_heads': 1, 'head_dim': 16,
                     'intermediate_size': 48, 'vocab_size': rows, 'bos_token_id': None,
                     'eos_token_id': 258, 'pad_token_id': 256},
        image_token_id=261)


def save_tiny(folder: Path, base: Path, rows: int = ROWS) -> Path:
    """Save a model and its tokenizer; the three marks take the ids 259 to 261."""
    torch.manual_seed(0)
    model = InternVLForConditionalGeneration(tiny_config(rows))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(str(base), config=Qwen2Config())
    tokenizer.add_tokens(MARKS, special_tokens=True)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope='module')
def folder(released, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp('internvl'), released.base)


@pytest.fixture(scope='module')
def model(folder: Path) -> ChatLanguageModel:
    return ChatLanguageModel.load(str(folder), device='cpu')


@pytest.fixture
def clip() -> LanguageClip:
    return LanguageClip(FRAMES, torch.zeros(3, 1, 1, 1))


@torch.no_grad()
def test_hidden_states_are_those_of_transformers(model: ChatLanguageModel,
                                                 clip: LanguageClip) -> None:
    """The whole sequence as text with placeholders, through transformers' own forward pass."""
    text = '<|im_start|>user\n' + ''.join(
        f'Frame{frame}: <img>{"<IMG_CONTEXT>" * 16}</img>\n' for frame in (1, 2, 3))
    text += (f'Find this in the video and segment it: {QUESTION}<|im_end|>\n'
             '<|im_start|>assistant\nIt is '
             + ', '.join(f'({index}) [SEG]' for index in range(10)) + '.')
    ids = torch.tensor([model.tokenizer(text, add_special_tokens=False).input_ids])
    from vseg_ros.virst.square_pixels import square_pixels
    pixels = square_pixels(clip.images, 32, torch.device('cpu'), torch.float32)
    hidden = model.model.model(input_ids=ids, pixel_values=pixels).last_hidden_state
    expected = hidden[ids == model.prompt_id]
    inputs = model.prepare([clip], [QUESTION])
    assert inputs.embeddings.shape[1] == ids.shape[1]
    torch.testing.assert_close(model(inputs).prompts[0], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_answer_is_that_of_transformers(model: ChatLanguageModel, clip: LanguageClip) -> None:
    inputs = model.prepare([clip], [QUESTION])
    generated = model.model.generate(
        inputs_embeds=inputs.embeddings, attention_mask=inputs.mask.long(), do_sample=False,
        max_new_tokens=6, eos_token_id=list(model.stop_ids), pad_token_id=256)
    expected = model.tokenizer.decode(generated[0], skip_special_tokens=True).strip()
    assert model.answer(inputs, 6) == [expected]


@torch.no_grad()
def test_frames_change_the_states(model: ChatLanguageModel, clip: LanguageClip) -> None:
    other = LanguageClip(FRAMES[::-1], torch.zeros(3, 1, 1, 1))
    first, second = (model(model.prepare([c], [QUESTION])).prompts for c in (clip, other))
    assert (first - second).abs().max() > 1e-4


def test_new_token_starts_as_the_mean(model: ChatLanguageModel) -> None:
    weight = model.model.get_input_embeddings().weight
    assert model.prompt_id == 262
    torch.testing.assert_close(weight[262], weight[:262].mean(0))


def test_a_vocabulary_without_room_grows(released, tmp_path: Path) -> None:
    model = ChatLanguageModel.load(str(save_tiny(tmp_path, released.base, 262)), device='cpu')
    assert model.model.get_input_embeddings().weight.shape[0] == 263
    assert model.head.weight.shape[0] == 263


@torch.no_grad()
def test_saved_and_loaded(model: ChatLanguageModel, clip: LanguageClip, tmp_path: Path) -> None:
    model.model.get_input_embeddings().weight[model.prompt_id] += 0.1
    expected = model(model.prepare([clip], [QUESTION])).prompts
    model.save(tmp_path)
    loaded = ChatLanguageModel.load(str(tmp_path), device='cpu')
    states = loaded(loaded.prepare([clip], [QUESTION])).prompts
    torch.testing.assert_close(states, expected)


def test_another_family(tmp_path: Path) -> None:
    config = Qwen2Config(hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                         num_attention_heads=1, num_key_value_heads=1, vocab_size=8,
                         bos_token_id=None, eos_token_id=None)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="family 'qwen2', which is not supported"):
        ChatLanguageModel.load(str(tmp_path), device='cpu')


def test_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    with pytest.raises(UserError, match='hf download someone/nothing'):
        ChatLanguageModel.load('someone/nothing', device='cpu')


def test_cut_short(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / 'copy')
    file = tmp_path / 'copy' / 'model.safetensors'
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(UserError, match='cut short'):
        ChatLanguageModel.load(str(tmp_path / 'copy'), device='cpu')
