"""
The released VIRST's names of STF's tensors, and ours.

A released checkpoint names the modules `…seg_prompter` (second fusion) and
`…initial_seg_fusion_module` (first fusion), with what peft puts before them. Tensors are the same
on both sides, only their names change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from vseg_ros.errors import UserError

INITIAL_FUSION = 'initial_seg_fusion_module'
FRAME_PROMPTS = 'seg_prompter'

# a ReLU stands between the convolutions, and counts
GRID_KEYS = {'spatial_down.0': 'grid.convolutions.0',
             'spatial_down.2': 'grid.convolutions.1',
             'spatial_down.4': 'grid.convolutions.2'}
INITIAL_FUSION_KEYS = {**GRID_KEYS,
                       'spatial_norm': 'grid.norm',
                       'vision_proj': 'projection',
                       'norm_q': 'prompt_norm',
                       'norm_kv': 'memory_norm',
                       'cross_attn': 'attention',
                       'gate': 'gate'}
"""First part of a released name -> ours, of the first fusion."""
FRAME_PROMPTS_KEYS = {**GRID_KEYS,
                      'memory_norm': 'grid.norm',
                      'seg_proj': 'projection'}
"""First part of a released name -> ours, of the second fusion, less its layers."""
LAYER_KEYS = {'self_attn': 'self_attention',
              'cross_attn.q_proj': 'cross_attention.query',
              'cross_attn.k_proj': 'cross_attention.key',
              'cross_attn.v_proj': 'cross_attention.value',
              'cross_attn.o_proj': 'cross_attention.output',
              'ff': 'feed_forward',
              'norm1': 'self_norm',
              'norm2': 'cross_norm',
              'norm3': 'norm'}
"""First part of a released name -> ours, of a layer of the second fusion."""


def released_initial_fusion(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """
    Take the first fusion out of a released checkpoint.

    Args:
        state: all tensors of the checkpoint, or those of the module with its name before them.

    Returns:
        what `InitialFusion.load_state_dict` wants.

    Raises:
        UserError: there is no such module in it, or it has a tensor that ours does not know.

    """
    return {_renamed(INITIAL_FUSION, name, INITIAL_FUSION_KEYS): tensor
            for name, tensor in _tensors_of(INITIAL_FUSION, state)}


def released_frame_prompts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """
    Take the second fusion out of a released checkpoint.

    Args:
        state: all tensors of the checkpoint, or those of the module with its name before them.

    Returns:
        what `FramePrompter.load_state_dict` wants.

    Raises:
        UserError: there is no such module in it, or it has a tensor that ours does not know.

    """
    renamed = {}
    for name, tensor in _tensors_of(FRAME_PROMPTS, state):
        if name.startswith('decoder.'):
            number, _, rest = name.removeprefix('decoder.').partition('.')
            key = f'layers.{number}.{_renamed(FRAME_PROMPTS, rest, LAYER_KEYS)}'
        else:
            key = _renamed(FRAME_PROMPTS, name, FRAME_PROMPTS_KEYS)
        renamed[key] = tensor
    return renamed


def _tensors_of(module: str, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """
    Yield name and tensor of what belongs to a module, the name relative to it.

    Raises:
        UserError: nothing does.

    """
    found = False
    for key, tensor in state.items():
        _, mark, name = f'.{key}'.partition(f'.{module}.')
        if mark:
            found = True
            yield name, tensor
    if not found:
        raise UserError(f'the checkpoint has no {module}: give the released weights of VIRST')


def _renamed(module: str, name: str, keys: Mapping[str, str]) -> str:
    """
    Exchange the first part of a name.

    Raises:
        UserError: no part is known.

    """
    for released, ours in keys.items():
        if name == released or name.startswith(f'{released}.'):
            return ours + name[len(released):]
    raise UserError(f'the checkpoint has an unknown tensor {name} in {module}: give the released '
                    'weights of VIRST')
