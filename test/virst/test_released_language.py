"""The language model's weights: names, sizes, low-rank matrices."""

from __future__ import annotations

import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.virst.released_language import (
    decoder_config,
    merged,
    released_vision,
    vision_size,
)
from vseg_ros.virst.umt_vision_tower import VisionSize

NAMES = {
    'patch_embed.proj.bias': 'patches.bias',
    'blocks.1.norm1.weight': 'blocks.1.norm1.weight',
    'blocks.1.attn.qkv.weight': 'blocks.1.qkv.weight',
    'blocks.1.attn.proj.bias': 'blocks.1.out.bias',
    'blocks.1.norm2.bias': 'blocks.1.norm2.bias',
    'blocks.1.mlp.fc1.weight': 'blocks.1.mlp.0.weight',
    'blocks.1.mlp.fc2.bias': 'blocks.1.mlp.2.bias',
    'vision_layernorm.weight': 'norm.weight',
}
BASE = {'hidden_size': 64, 'intermediate_size': 96, 'num_hidden_layers': 2,
        'num_attention_heads': 4, 'num_key_value_heads': 2, 'hidden_act': 'silu',
        'max_position_embeddings': 512, 'rms_norm_eps': 1e-6, 'rope_theta': 5e5,
        'tie_word_embeddings': False, 'bos_token_id': 1, 'eos_token_id': 2,
        'mm_vision_tower': 'umt-hd-large'}


def test_names_of_the_vision_tower() -> None:
    state = {name: torch.full((2,), float(place)) for place, name in enumerate(NAMES)}
    renamed = released_vision(state)
    assert {name: renamed[ours][0].item() for name, ours in NAMES.items()} == {
        name: value[0].item() for name, value in state.items()}


def test_the_key_has_no_bias() -> None:
    renamed = released_vision({'blocks.0.attn.q_bias': torch.tensor([1., 2.]),
                               'blocks.0.attn.v_bias': torch.tensor([3., 4.])})
    assert list(renamed) == ['blocks.0.qkv.bias']
    assert renamed['blocks.0.qkv.bias'].tolist() == [1, 2, 0, 0, 3, 4]
    with pytest.raises(UserError, match=r'lacks blocks.0.attn.v_bias'):
        released_vision({'blocks.0.attn.q_bias': torch.ones(2)})


def test_convolution_over_one_frame() -> None:
    kernel = torch.randn(8, 3, 1, 4, 4)
    assert torch.equal(released_vision({'patch_embed.proj.weight': kernel})['patches.weight'],
                       kernel[:, :, 0])


def test_size_of_the_vision_tower() -> None:
    vision = {'patches.weight': torch.empty(1024, 3, 16, 16),
              **{f'blocks.{index}.norm1.bias': torch.empty(1) for index in range(23)}}
    assert vision_size(BASE, vision) == VisionSize()
    small = vision_size({'mm_vision_tower': 'umt-large'}, vision)
    assert small == VisionSize(side=224)
    with pytest.raises(UserError, match="vision tower 'clip'"):
        vision_size({'mm_vision_tower': 'clip'}, vision)


def test_configuration_of_the_decoder() -> None:
    config = decoder_config(BASE, 77)
    assert config.vocab_size == 77
    assert config.rope_parameters['rope_theta'] == 5e5
    assert all(getattr(config, name) == value for name, value in BASE.items()
               if name not in ('rope_theta', 'mm_vision_tower'))
    with pytest.raises(UserError, match="no 'rope_theta'"):
        decoder_config({k: v for k, v in BASE.items() if k != 'rope_theta'}, 77)


def test_low_rank_matrices_element_by_element() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 4, generator=generator)
    first = torch.randn(3, 4, generator=generator)
    second = torch.randn(5, 3, generator=generator)
    low_rank = {'a.q_proj.lora_A.weight': first, 'a.q_proj.lora_B.weight': second}
    expected = [[weight[o, i] + 16 / 3 * sum(second[o, r] * first[r, i] for r in range(3))
                 for i in range(4)] for o in range(5)]
    torch.testing.assert_close(merged('a.q_proj.weight', weight, low_rank, 16),
                               torch.tensor(expected))
    assert merged('a.k_proj.weight', weight, low_rank, 16) is weight
    assert merged('a.q_proj.bias', weight, low_rank, 16) is weight
    del low_rank['a.q_proj.lora_B.weight']
    with pytest.raises(UserError, match=r'only one low-rank matrix of a\.q_proj'):
        merged('a.q_proj.weight', weight, low_rank, 16)


def test_sum_is_formed_in_float32() -> None:
    weight = torch.ones(1, 1, dtype=torch.bfloat16)
    low_rank = {'q.lora_A.weight': torch.full((1, 1), 0.003), 'q.lora_B.weight': torch.ones(1, 1)}
    value = merged('q.weight', weight, low_rank, 1)
    assert value.dtype == torch.bfloat16
    assert value.item() == torch.tensor(1.003).bfloat16().item()
