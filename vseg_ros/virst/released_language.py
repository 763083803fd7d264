"""
The released VIRST's language model: names of its weights, and its low-rank matrices merged.

The decoder's names are transformers' own. In the vision tower, q and v have a bias and k has
none, and the patches are a three-dimensional convolution over one frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2Config

from vseg_ros.errors import UserError
from vseg_ros.virst.umt_vision_tower import VisionSize

HEAD_WIDTH = 64
"""Channels of a head of the vision tower."""

SIDES = {'umt-hd': 448, 'umt': 224}
"""Side of the frames in pixels, by the start of the tower's name."""

VISION_NAMES = tuple((re.compile(pattern), name) for pattern, name in (
    (r'^patch_embed\.proj\.', 'patches.'),
    (r'^vision_layernorm\.', 'norm.'),
    (r'^(blocks\.\d+)\.attn\.qkv\.', r'\1.qkv.'),
    (r'^(blocks\.\d+)\.attn\.proj\.', r'\1.out.'),
    (r'^(blocks\.\d+)\.mlp\.fc1\.', r'\1.mlp.0.'),
    (r'^(blocks\.\d+)\.mlp\.fc2\.', r'\1.mlp.2.'),
))
"""Names in the vision tower and ours."""

QUERY_BIAS = re.compile(r'^(blocks\.\d+)\.attn\.q_bias$')
VALUE_BIAS = '.attn.v_bias'
QWEN2_VALUES = ('hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
                'num_key_value_heads', 'hidden_act', 'max_position_embeddings', 'rms_norm_eps',
                'tie_word_embeddings', 'bos_token_id', 'eos_token_id')
"""What is taken over from the base model's configuration."""


def decoder_config(base: Mapping[str, Any], vocabulary: int) -> Qwen2Config:
    """
    Make the decoder's configuration from that of the base model.

    Args:
        base: content of its config.json.
        vocabulary: rows of the embeddings.

    Raises:
        UserError: a value is missing.

    """
    missing = [name for name in (*QWEN2_VALUES, 'rope_theta') if name not in base]
    if missing:
        raise UserError(f'the base model has no {missing[0]!r} in its config.json: give the '
                        'folder of VideoChat-Flash-Qwen2')
    rotary = {'rope_type': 'default', 'rope_theta': base['rope_theta']}
    return Qwen2Config(vocab_size=vocabulary, rope_parameters=rotary, dtype=torch.bfloat16,
                       use_sliding_window=False, architectures=['Qwen2ForCausalLM'],
                       **{name: base[name] for name in QWEN2_VALUES})


def vision_size(base: Mapping[str, Any], vision: Mapping[str, Tensor]) -> VisionSize:
    """
    Tell the size of the vision tower.

    Args:
        base: content of the base model's config.json.
        vision: the tower's weights, under our names.

    Raises:
        UserError: the base model has another tower, or weights are missing.

    """
    name = str(base.get('mm_vision_tower'))
    side = next((side for start, side in SIDES.items() if name.startswith(start)), None)
    kernel = vision.get('patches.weight')
    if side is None or kernel is None:
        raise UserError(f'the base model has the vision tower {name!r}: give the folder of '
                        'VideoChat-Flash-Qwen2')
    width, patch = kernel.shape[0], kernel.shape[-1]
    blocks = len({key.split('.')[1] for key in vision if key.startswith('blocks.')})
    return VisionSize(side, patch, width, blocks, max(1, width // HEAD_WIDTH))


def released_vision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """
    Rename the vision tower's weights.

    Args:
        state: 'blocks.0.attn.qkv.weight' and so on.

    Raises:
        UserError: a bias is missing.

    """
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        query = QUERY_BIAS.match(name)
        if query:
            other = state.get(f'{query[1]}{VALUE_BIAS}')
            if other is None:
                raise UserError(f'the checkpoint lacks {query[1]}{VALUE_BIAS} of the vision '
                                'tower: download it again')
            renamed[f'{query[1]}.qkv.bias'] = torch.cat((value, torch.zeros_like(value), other))
        elif not name.endswith(VALUE_BIAS):
            renamed[_vision_name(name)] = value.squeeze(2) if value.ndim == 5 else value
    return renamed


def merged(name: str, weight: Tensor, low_rank: Mapping[str, Tensor], alpha: float) -> Tensor:
    """
    Add a layer's low-rank matrices to its weight: W + (alpha / rank) B A.

    Args:
        name: of the weight; one without matrices stays as it is.
        weight: [O, I], of any float type.
        low_rank: A, [rank, I], and B, [O, rank], of all layers.
        alpha: the matrices were trained with.

    Returns:
        [O, I], of the weight's type; the sum is formed in float32.

    Raises:
        UserError: only one of the two matrices is there.

    """
    first, second = (low_rank.get(key) for key in low_rank_names(name))
    if first is None and second is None:
        return weight
    if first is None or second is None:
        raise UserError(f'the checkpoint has only one low-rank matrix of {name}: download it '
                        'again')
    change = second.float() @ first.float() * (alpha / len(first))
    return (weight.float() + change).to(weight.dtype)


def low_rank_names(name: str) -> Iterator[str]:
    """Return the names of the two matrices beside a weight."""
    layer = name.removesuffix('.weight')
    return (f'{layer}.lora_{matrix}.weight' for matrix in 'AB')


def _vision_name(name: str) -> str:
    for pattern, replacement in VISION_NAMES:
        name = pattern.sub(replacement, name)
    return name
