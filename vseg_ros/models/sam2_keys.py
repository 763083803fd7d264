"""
SAM 2's weights from the names of Meta's repository to those of transformers' `Sam2VideoModel`.

Names are translated part by part; every name must be known, and what comes out is checked against
the model. Two things are laid out otherwise: the four point embeddings are one table, and the
random frequencies of the image's positions appear twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VisionConfig

from vseg_ros.errors import UserError

SINGLE = {
    'maskmem_tpos_enc': 'memory_temporal_positional_encoding',
    'no_mem_embed': 'no_memory_embedding',
    'no_mem_pos_enc': 'no_memory_positional_encoding',
    'no_obj_ptr': 'no_object_pointer',
    'no_obj_embed_spatial': 'occlusion_spatial_embedding_parameter',
    'sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix':
        'prompt_encoder.shared_embedding.positional_embedding',
}
"""Names of parameters that stand alone."""

ROOMS = {
    'image_encoder.trunk.': 'vision_encoder.backbone.',
    'image_encoder.neck.': 'vision_encoder.neck.',
    'sam_prompt_encoder.': 'prompt_encoder.',
    'sam_mask_decoder.': 'mask_decoder.',
    'memory_attention.': 'memory_attention.',
    'memory_encoder.': 'memory_encoder.',
    'mask_downsample.': 'mask_downsample.',
    'obj_ptr_proj.': 'object_pointer_proj.',
    'obj_ptr_tpos_proj.': 'temporal_positional_encoding_projection_layer.',
}
"""First parts of names, by module."""

RULES = tuple((re.compile(pattern), name) for pattern, name in (
    (r'^(vision_encoder\.backbone\.patch_embed)\.proj\.', r'\1.projection.'),
    (r'^(vision_encoder\.neck\.convs\.\d+)\.conv\.', r'\1.'),
    (r'^(prompt_encoder)\.mask_downscaling\.0\.', r'\1.mask_embed.conv1.'),
    (r'^(prompt_encoder)\.mask_downscaling\.1\.', r'\1.mask_embed.layer_norm1.'),
    (r'^(prompt_encoder)\.mask_downscaling\.3\.', r'\1.mask_embed.conv2.'),
    (r'^(prompt_encoder)\.mask_downscaling\.4\.', r'\1.mask_embed.layer_norm2.'),
    (r'^(prompt_encoder)\.mask_downscaling\.6\.', r'\1.mask_embed.conv3.'),
    (r'^(mask_decoder)\.output_upscaling\.0\.', r'\1.upscale_conv1.'),
    (r'^(mask_decoder)\.output_upscaling\.1\.', r'\1.upscale_layer_norm.'),
    (r'^(mask_decoder)\.output_upscaling\.3\.', r'\1.upscale_conv2.'),
    (r'^(memory_encoder)\.pix_feat_proj\.', r'\1.feature_projection.'),
    (r'^(memory_encoder)\.out_proj\.', r'\1.projection.'),
    (r'^(memory_encoder)\.fuser\.', r'\1.memory_fuser.'),
    (r'\.gamma$', '.scale'),
    (r'\.dwconv\.', '.depthwise_conv.'),
    (r'\.pwconv(\d)\.', r'.pointwise_conv\1.'),
    (r'\.out_proj\.', '.o_proj.'),
    (r'\.norm(\d|_|\.)', r'.layer_norm\1'),
    # perceptrons of two layers
    (r'(\.mlp)\.layers\.0\.', r'\1.proj_in.'),
    (r'(\.mlp)\.layers\.1\.', r'\1.proj_out.'),
))
"""What changes inside a name once its first part is translated, in this order."""

THREE_LAYERS = re.compile(
    r'(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head|object_pointer_proj)'
    r'\.layers\.([012])\.')
PERCEPTRON = ('proj_in', 'layers.0', 'proj_out')
MASK_ENCODER = re.compile(r'^(memory_encoder\.mask_downsampler)\.encoder\.(\d+)\.')
POINTS = re.compile(r'^sam_prompt_encoder\.point_embeddings\.([0-3])\.weight$')
POINT_TABLE = 'prompt_encoder.point_embed.weight'
FREQUENCIES = SINGLE['sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix']
FREQUENCIES_AGAIN = 'shared_image_embedding.positional_embedding'

SIZES: dict[tuple[int, int], dict[str, Any]] = {
    (96, 12): {'blocks_per_stage': [1, 2, 7, 2], 'global_attention_blocks': [5, 7, 9]},
    (96, 16): {'blocks_per_stage': [1, 2, 11, 2], 'global_attention_blocks': [7, 10, 13]},
    (112, 24): {'blocks_per_stage': [2, 3, 16, 3], 'global_attention_blocks': [12, 16, 20],
                'num_attention_heads_per_stage': [2, 4, 8, 16],
                'window_positional_embedding_background_size': [14, 14]},
    (144, 48): {'blocks_per_stage': [2, 6, 36, 4], 'global_attention_blocks': [23, 33, 43],
                'num_attention_heads_per_stage': [2, 4, 8, 16],
                'window_size_per_stage': [8, 4, 16, 8]},
}
"""The published Hieras (tiny, small, base plus, large) by width and number of blocks."""


def transformers_sam2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """
    Rename the weights of SAM 2 or 2.1.

    Args:
        state: Meta's names.

    Returns:
        transformers' names; the tensors are shared, except for the point embeddings.

    Raises:
        UserError: a name is not known, or a point embedding is missing.

    """
    renamed: dict[str, Tensor] = {}
    points: dict[str, Tensor] = {}
    for name, value in state.items():
        point = POINTS.match(name)
        if point:
            points[point[1]] = value
        else:
            renamed[transformers_name(name)] = value
    if sorted(points) != ['0', '1', '2', '3'] or FREQUENCIES not in renamed:
        raise UserError("the checkpoint's SAM 2 lacks its prompt encoder: download it again")
    renamed[POINT_TABLE] = torch.cat([points[index] for index in sorted(points)])
    renamed[FREQUENCIES_AGAIN] = renamed[FREQUENCIES].clone()
    return renamed


def transformers_name(name: str) -> str:
    """
    Translate one name.

    Raises:
        UserError: it is not known.

    """
    if name in SINGLE:
        return SINGLE[name]
    room = next((room for room in ROOMS if name.startswith(room)), None)
    if room is None:
        raise UserError(f"the checkpoint's SAM 2 has an unknown weight {name!r}: only SAM 2 and "
                        '2.1 can be converted')
    name = ROOMS[room] + name.removeprefix(room)
    for pattern, replacement in RULES:
        name = pattern.sub(replacement, name)
    name = THREE_LAYERS.sub(lambda m: f'{m[1]}.{PERCEPTRON[int(m[2])]}.', name)
    return MASK_ENCODER.sub(_mask_encoder_layer, name)


def known_config(state: Mapping[str, Tensor]) -> Sam2VideoConfig:
    """
    Tell which of the published SAM 2.1 models weights belong to.

    Args:
        state: transformers' names.

    Raises:
        UserError: none of them.

    """
    backbone = 'vision_encoder.backbone.'
    first = state.get(f'{backbone}patch_embed.projection.bias')
    width = 0 if first is None else len(first)
    blocks = len({name.split('.')[3] for name in state if name.startswith(f'{backbone}blocks.')})
    if (width, blocks) not in SIZES:
        raise UserError(f"the checkpoint's SAM 2 has {blocks} blocks, the first {width} channels "
                        'wide, which is no published size: name a folder with its configuration')
    return hiera_config(
        width, blocks, 'temporal_positional_encoding_projection_layer.weight' in state,
        'occlusion_spatial_embedding_parameter' in state)


def hiera_config(width: int, blocks: int, temporal: bool, occlusion: bool) -> Sam2VideoConfig:
    """
    Return the configuration of a published SAM 2.

    Args:
        width: channels of the first block.
        blocks: number of blocks; (width, blocks) is one of `SIZES`.
        temporal: whether object pointers know their age; SAM 2.1.
        occlusion: whether memories tell that an object was hidden; SAM 2.1.

    """
    widths = [width * 2 ** stage for stage in range(4)]
    hiera = Sam2HieraDetConfig(hidden_size=width, embed_dim_per_stage=widths,
                               **SIZES[width, blocks])
    vision = Sam2VisionConfig(backbone_config=hiera, backbone_channel_list=widths[::-1])
    return Sam2VideoConfig(vision_config=vision, enable_occlusion_spatial_embedding=occlusion,
                           enable_temporal_pos_encoding_for_object_pointers=temporal)


def _mask_encoder_layer(match: re.Match[str]) -> str:
    """Translate Meta's flat list: convolution, norm, activation, ..., last convolution."""
    index = int(match[2])
    stage, kind = divmod(index, 3)
    if kind == 1:
        return f'{match[1]}.layers.{stage}.layer_norm.'
    return f'{match[1]}.layers.{stage}.conv.' if index < LAST_CONVOLUTION else (
        f'{match[1]}.final_conv.')


LAST_CONVOLUTION = 12
"""Its place in Meta's list: after four stages of three."""
