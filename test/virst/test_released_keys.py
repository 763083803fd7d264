"""Tensors under the names of a released checkpoint find their places in our modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.virst.frame_prompts import FramePrompter
from vseg_ros.virst.initial_fusion import InitialFusion
from vseg_ros.virst.released_keys import released_frame_prompts, released_initial_fusion

LANGUAGE, WIDTH, CHANNELS = 16, 12, 4
BEFORE = 'base_model.model.model.'
"""What peft puts before the names."""


def layer(out: int, into: int, *kernel: int) -> dict[str, tuple[int, ...]]:
    return {'weight': (out, into, *kernel), 'bias': (out,)}


def norm(width: int) -> dict[str, tuple[int, ...]]:
    return {'weight': (width,), 'bias': (width,)}


def attention(width: int) -> dict[str, tuple[int, ...]]:
    return {'in_proj_weight': (3 * width, width), 'in_proj_bias': (3 * width,),
            'out_proj.weight': (width, width), 'out_proj.bias': (width,)}


GRID = {'spatial_down.0': layer(WIDTH, CHANNELS, 3, 3),
        'spatial_down.2': layer(WIDTH, WIDTH, 3, 3),
        'spatial_down.4': layer(WIDTH, WIDTH, 3, 3)}
INITIAL = {**GRID, 'spatial_norm': norm(WIDTH), 'vision_proj': layer(LANGUAGE, WIDTH),
           'norm_q': norm(LANGUAGE), 'norm_kv': norm(LANGUAGE), 'cross_attn': attention(LANGUAGE)}
PROMPTER = {**GRID, 'memory_norm': norm(WIDTH), 'seg_proj': layer(WIDTH, LANGUAGE)}
for number in range(2):
    PROMPTER |= {f'decoder.{number}.{name}': shapes for name, shapes in {
        **{f'cross_attn.{kind}_proj': layer(WIDTH, WIDTH) for kind in 'qkvo'},
        'self_attn': attention(WIDTH), 'ff.0': layer(4 * WIDTH, WIDTH),
        'ff.2': layer(WIDTH, 4 * WIDTH), 'norm1': norm(WIDTH), 'norm2': norm(WIDTH),
        'norm3': norm(WIDTH)}.items()}


def make_checkpoint() -> dict[str, Tensor]:
    """Random tensors under the names and shapes of a released checkpoint, other modules' too."""
    torch.manual_seed(0)
    state = {f'{BEFORE}{module}.{part}.{name}': torch.randn(shape)
             for module, parts in (('initial_seg_fusion_module', INITIAL),
                                   ('seg_prompter', PROMPTER))
             for part, shapes in parts.items() for name, shape in shapes.items()}
    state[f'{BEFORE}initial_seg_fusion_module.gate'] = torch.randn(())
    state[f'{BEFORE}occ_predictor.weight'] = torch.randn(1, WIDTH)
    state[f'{BEFORE}layers.0.self_attn.q_proj.lora_A.default.weight'] = torch.randn(2, 2)
    return state


def check_places(module: torch.nn.Module, released: str, state: dict[str, Tensor],
                 places: dict[str, str]) -> None:
    for theirs, ours in places.items():
        torch.testing.assert_close(module.state_dict()[ours],
                                   state[f'{BEFORE}{released}.{theirs}'], rtol=0, atol=0)


def test_initial_fusion_takes_every_tensor() -> None:
    state = make_checkpoint()
    module = InitialFusion(CHANNELS, LANGUAGE, WIDTH, heads=2)
    renamed = released_initial_fusion(state)
    module.load_state_dict(renamed)
    assert len(renamed) == sum('initial_seg_fusion_module' in name for name in state)
    check_places(module, 'initial_seg_fusion_module', state, {
        'spatial_down.2.weight': 'grid.convolutions.1.weight',
        'spatial_down.4.weight': 'grid.convolutions.2.weight',
        'spatial_norm.weight': 'grid.norm.weight',
        'norm_q.weight': 'prompt_norm.weight',
        'norm_kv.weight': 'memory_norm.weight',
        'cross_attn.in_proj_weight': 'attention.in_proj_weight',
        'gate': 'gate'})


def test_frame_prompts_take_every_tensor() -> None:
    state = make_checkpoint()
    module = FramePrompter(LANGUAGE, WIDTH, CHANNELS, heads=2)
    renamed = released_frame_prompts(state)
    module.load_state_dict(renamed)
    assert len(renamed) == sum('seg_prompter' in name for name in state)
    check_places(module, 'seg_prompter', state, {
        'spatial_down.2.weight': 'grid.convolutions.1.weight',
        'spatial_down.4.weight': 'grid.convolutions.2.weight',
        'memory_norm.weight': 'grid.norm.weight',
        'decoder.0.cross_attn.q_proj.weight': 'layers.0.cross_attention.query.weight',
        'decoder.1.cross_attn.k_proj.weight': 'layers.1.cross_attention.key.weight',
        'decoder.1.cross_attn.v_proj.weight': 'layers.1.cross_attention.value.weight',
        'decoder.1.cross_attn.o_proj.weight': 'layers.1.cross_attention.output.weight',
        'decoder.1.self_attn.in_proj_weight': 'layers.1.self_attention.in_proj_weight',
        'decoder.1.norm1.weight': 'layers.1.self_norm.weight',
        'decoder.1.norm2.weight': 'layers.1.cross_norm.weight',
        'decoder.1.norm3.weight': 'layers.1.norm.weight'})


def test_names_without_a_prefix_do_as_well() -> None:
    state = {name.removeprefix(BEFORE): value for name, value in make_checkpoint().items()}
    assert released_frame_prompts(state).keys() == released_frame_prompts(make_checkpoint()).keys()


def test_another_checkpoint_is_refused() -> None:
    other = {'model.not_seg_prompter.weight': torch.zeros(1)}
    with pytest.raises(UserError, match='has no seg_prompter: give the released weights'):
        released_frame_prompts(other)
    with pytest.raises(UserError, match='has no initial_seg_fusion_module'):
        released_initial_fusion(other)


@pytest.mark.parametrize('name', ['gates', 'decoder.0.norm4.weight', 'decoder.0', 'spatial'])
def test_unknown_tensors_are_refused(name: str) -> None:
    state = {f'{BEFORE}seg_prompter.{name}': torch.zeros(1)}
    with pytest.raises(UserError, match=r'unknown tensor .* in seg_prompter'):
        released_frame_prompts(state)
