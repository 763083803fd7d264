"""LoRA through peft; what needs peft is skipped, saying so, without it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from vseg_ros.errors import UserError
from vseg_ros.virst import low_rank
from vseg_ros.virst.low_rank import (
    PROJECTIONS,
    add_low_rank,
    add_saved_low_rank,
    merge_low_rank,
    save_low_rank,
    saved_low_rank,
    write_low_rank,
)

needs_peft = pytest.mark.skipif(importlib.util.find_spec('peft') is None,
                                reason='peft is not installed')
TOKENS = torch.tensor([[1, 5, 3, 7]])


@pytest.fixture
def decoder() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, vocab_size=11, bos_token_id=None, eos_token_id=None)).eval()


def randomize(parameters: list[torch.nn.Parameter]) -> None:
    for index, parameter in enumerate(parameters):
        torch.nn.init.normal_(parameter, std=0.3,
                              generator=torch.Generator().manual_seed(index))


@needs_peft
@torch.no_grad()
def test_all_projections_and_nothing_at_first(decoder: Qwen2ForCausalLM) -> None:
    before = decoder(TOKENS).logits
    parameters = add_low_rank(decoder, rank=2, alpha=8)
    assert len(parameters) == 2 * 2 * len(PROJECTIONS)
    assert {name for name, value in decoder.named_parameters() if value.requires_grad} == {
        name for name, _ in decoder.named_parameters() if '.lora_' in name}
    torch.testing.assert_close(decoder.eval()(TOKENS).logits, before)


@needs_peft
@torch.no_grad()
def test_w_plus_b_a_and_merged(decoder: Qwen2ForCausalLM) -> None:
    weight = decoder.model.layers[0].mlp.up_proj.weight.clone()
    randomize(add_low_rank(decoder, rank=2, alpha=8))
    layer = decoder.model.layers[0].mlp.up_proj
    first, second = layer.lora_A['default'].weight, layer.lora_B['default'].weight
    expected = weight + 8 / 2 * second @ first
    apart = decoder.eval()(TOKENS).logits
    merge_low_rank(decoder)
    torch.testing.assert_close(decoder.model.layers[0].mlp.up_proj.weight, expected)
    torch.testing.assert_close(decoder(TOKENS).logits, apart, atol=1e-5, rtol=1e-5)
    assert not any('lora' in name for name, _ in decoder.named_modules())


@needs_peft
@torch.no_grad()
def test_saved_and_loaded(decoder: Qwen2ForCausalLM, tmp_path: Path) -> None:
    plain = Qwen2ForCausalLM(decoder.config).eval()
    plain.load_state_dict(decoder.state_dict())
    randomize(add_low_rank(decoder, rank=2, alpha=8))
    save_low_rank(decoder, tmp_path, alpha=8)
    add_saved_low_rank(plain, tmp_path)
    torch.testing.assert_close(plain.eval()(TOKENS).logits, decoder.eval()(TOKENS).logits)


@needs_peft
@pytest.mark.filterwarnings('ignore::FutureWarning')  # between peft and transformers
def test_files_are_those_of_peft(decoder: Qwen2ForCausalLM, tmp_path: Path) -> None:
    import peft
    plain = Qwen2ForCausalLM(decoder.config).eval()
    plain.load_state_dict(decoder.state_dict())
    randomize(add_low_rank(decoder, rank=2, alpha=8))
    save_low_rank(decoder, tmp_path, alpha=8)
    loaded = peft.PeftModel.from_pretrained(plain, str(tmp_path / 'lora')).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(TOKENS).logits, decoder.eval()(TOKENS).logits)


@needs_peft
def test_matrices_of_another_model(decoder: Qwen2ForCausalLM, tmp_path: Path) -> None:
    write_low_rank({'model.layers.0.self_attn.q_proj.lora_A.weight': torch.ones(2, 16)},
                   tmp_path, 8)
    with pytest.raises(UserError, match='damaged or belongs to another model'):
        add_saved_low_rank(decoder, tmp_path)


def test_written_form(tmp_path: Path) -> None:
    assert saved_low_rank(tmp_path) is None
    write_low_rank({'model.a.q_proj.lora_A.weight': torch.ones(3, 4),
                    'model.a.q_proj.lora_B.weight': torch.ones(5, 3)}, tmp_path, 16.0)
    folder = saved_low_rank(tmp_path)
    assert folder is not None
    assert sorted(load_file(folder / 'adapter_model.safetensors')) == [
        'base_model.model.model.a.q_proj.lora_A.weight',
        'base_model.model.model.a.q_proj.lora_B.weight']
    config = json.loads((folder / 'adapter_config.json').read_text())
    assert (config['r'], config['lora_alpha']) == (3, 16.0)


def test_without_peft_the_package_is_named(decoder: Qwen2ForCausalLM,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(low_rank.importlib.sys.modules, 'peft', None)
    for call in (add_low_rank, merge_low_rank):
        with pytest.raises(UserError, match='pip install --upgrade peft'):
            call(decoder)
