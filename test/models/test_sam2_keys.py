"""SAM 2's names: every kind of weight once, as plain data, and whole models of all sizes."""

from __future__ import annotations

import pytest
import torch
from transformers import Sam2VideoModel

from vseg_ros.errors import UserError
from vseg_ros.models.sam2_keys import (
    SIZES,
    hiera_config,
    known_config,
    transformers_name,
    transformers_sam2,
)

NAMES = {
    'maskmem_tpos_enc': 'memory_temporal_positional_encoding',
    'no_obj_embed_spatial': 'occlusion_spatial_embedding_parameter',
    'image_encoder.trunk.pos_embed_window': 'vision_encoder.backbone.pos_embed_window',
    'image_encoder.trunk.patch_embed.proj.bias':
        'vision_encoder.backbone.patch_embed.projection.bias',
    'image_encoder.trunk.blocks.3.norm2.weight':
        'vision_encoder.backbone.blocks.3.layer_norm2.weight',
    'image_encoder.trunk.blocks.3.attn.proj.weight':
        'vision_encoder.backbone.blocks.3.attn.proj.weight',
    'image_encoder.trunk.blocks.1.proj.weight': 'vision_encoder.backbone.blocks.1.proj.weight',
    'image_encoder.trunk.blocks.0.mlp.layers.1.bias':
        'vision_encoder.backbone.blocks.0.mlp.proj_out.bias',
    'image_encoder.neck.convs.2.conv.weight': 'vision_encoder.neck.convs.2.weight',
    'mask_downsample.weight': 'mask_downsample.weight',
    'memory_attention.norm.bias': 'memory_attention.layer_norm.bias',
    'memory_attention.layers.1.cross_attn_image.out_proj.weight':
        'memory_attention.layers.1.cross_attn_image.o_proj.weight',
    'memory_attention.layers.1.linear2.bias': 'memory_attention.layers.1.linear2.bias',
    'memory_encoder.mask_downsampler.encoder.3.weight':
        'memory_encoder.mask_downsampler.layers.1.conv.weight',
    'memory_encoder.mask_downsampler.encoder.10.bias':
        'memory_encoder.mask_downsampler.layers.3.layer_norm.bias',
    'memory_encoder.mask_downsampler.encoder.12.bias':
        'memory_encoder.mask_downsampler.final_conv.bias',
    'memory_encoder.pix_feat_proj.bias': 'memory_encoder.feature_projection.bias',
    'memory_encoder.fuser.layers.0.gamma': 'memory_encoder.memory_fuser.layers.0.scale',
    'memory_encoder.fuser.layers.0.norm.bias':
        'memory_encoder.memory_fuser.layers.0.layer_norm.bias',
    'memory_encoder.fuser.layers.0.dwconv.bias':
        'memory_encoder.memory_fuser.layers.0.depthwise_conv.bias',
    'memory_encoder.fuser.layers.0.pwconv2.bias':
        'memory_encoder.memory_fuser.layers.0.pointwise_conv2.bias',
    'memory_encoder.out_proj.weight': 'memory_encoder.projection.weight',
    'sam_prompt_encoder.not_a_point_embed.weight': 'prompt_encoder.not_a_point_embed.weight',
    'sam_prompt_encoder.mask_downscaling.4.bias': 'prompt_encoder.mask_embed.layer_norm2.bias',
    'sam_prompt_encoder.mask_downscaling.6.bias': 'prompt_encoder.mask_embed.conv3.bias',
    'sam_mask_decoder.transformer.norm_final_attn.bias':
        'mask_decoder.transformer.layer_norm_final_attn.bias',
    'sam_mask_decoder.transformer.layers.0.mlp.layers.0.bias':
        'mask_decoder.transformer.layers.0.mlp.proj_in.bias',
    'sam_mask_decoder.transformer.layers.1.self_attn.out_proj.bias':
        'mask_decoder.transformer.layers.1.self_attn.o_proj.bias',
    'sam_mask_decoder.output_upscaling.1.bias': 'mask_decoder.upscale_layer_norm.bias',
    'sam_mask_decoder.output_upscaling.3.bias': 'mask_decoder.upscale_conv2.bias',
    'sam_mask_decoder.output_hypernetworks_mlps.3.layers.2.bias':
        'mask_decoder.output_hypernetworks_mlps.3.proj_out.bias',
    'sam_mask_decoder.iou_prediction_head.layers.1.bias':
        'mask_decoder.iou_prediction_head.layers.0.bias',
    'sam_mask_decoder.pred_obj_score_head.layers.0.bias':
        'mask_decoder.pred_obj_score_head.proj_in.bias',
    'obj_ptr_proj.layers.1.weight': 'object_pointer_proj.layers.0.weight',
    'obj_ptr_tpos_proj.weight': 'temporal_positional_encoding_projection_layer.weight',
}


@pytest.mark.parametrize('name', NAMES)
def test_names(name: str) -> None:
    assert transformers_name(name) == NAMES[name]


@pytest.mark.parametrize(('width', 'blocks'), SIZES)
def test_published_sizes(width: int, blocks: int) -> None:
    """The configuration told from weights is the one that they were made with."""
    with torch.device('meta'):
        model = Sam2VideoModel(hiera_config(width, blocks, temporal=True, occlusion=True))
    state = model.state_dict()
    config = known_config(state)
    with torch.device('meta'):
        again = Sam2VideoModel(config).state_dict()
    assert {name: value.shape for name, value in again.items()} == {
        name: value.shape for name, value in state.items()}


def test_the_large_one_is_that_of_the_released_virst() -> None:
    backbone = hiera_config(144, 48, temporal=True, occlusion=True).vision_config.backbone_config
    assert backbone.blocks_per_stage == [2, 6, 36, 4]
    assert backbone.global_attention_blocks == [23, 33, 43]
    assert backbone.window_size_per_stage == [8, 4, 16, 8]
    assert backbone.num_attention_heads_per_stage == [2, 4, 8, 16]
    assert list(backbone.window_positional_embedding_background_size) == [7, 7]


def test_unknown_names_and_sizes() -> None:
    with pytest.raises(UserError, match=r'unknown weight .image_encoder\.other'):
        transformers_name('image_encoder.other.x')
    with pytest.raises(UserError, match='0 blocks, the first 0 channels wide'):
        known_config({})
    with pytest.raises(UserError, match='lacks its prompt encoder'):
        transformers_sam2({})
