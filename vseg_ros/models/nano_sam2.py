"""
A SAM 2 small enough for a laptop: transformers' `Sam2VideoModel` on the encoder of driving-b0.

The published tiny model has 39 M parameters and wants 1024 x 1024 pixels; this one has 5 M and
sees 384 x 384. Everything of SAM 2 is there: feature pyramid, prompt encoder, mask decoder, memory
encoder and memory attention. Its file holds all but the encoder, which is that of the segmenter
named in its metadata, and is checked by a digest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Sam2VideoConfig, Sam2VideoModel

from vseg_ros.errors import UserError
from vseg_ros.models.digest import digest
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.mit_backbone import MitBackboneConfig
from vseg_ros.models.segformer import SegformerBackbone
from vseg_ros.models.stored_weights import read_weights, write_weights

ARCHITECTURE = 'nano-sam2'
ENCODER = 'driving-b0'
SIDE = 384
WIDTH = 128
MEMORY_WIDTH = 64
_LAYER_SCALE = 0.1
_ENCODER_KEYS = 'vision_encoder.backbone.'


def nano_sam2_config(side: int = SIDE, width: int = WIDTH) -> Sam2VideoConfig:
    """
    Describe the model.

    Args:
        side: height and width of the image it sees, a multiple of 32.
        width: channels of its features, a multiple of 64.

    Raises:
        ValueError: a size is no such multiple.

    """
    if side < 32 or side % 32 or width < 64 or width % 64:
        raise ValueError(f'side {side} must be a multiple of 32, width {width} one of 64')
    backbone = MitBackboneConfig('b0')
    cells = side // 16
    # no name that transformers knows: `Sam2Network.segment_points` asks for it
    own_options: dict[str, Any] = {'paints_points': True}
    return Sam2VideoConfig(
        vision_config={
            'model_type': 'sam2_vision_model', 'backbone_config': backbone.to_dict(),
            'backbone_channel_list': backbone.widths[::-1], 'fpn_hidden_size': width,
            'backbone_feature_sizes': [[cells * 4] * 2, [cells * 2] * 2, [cells] * 2]},
        prompt_encoder_config={'hidden_size': width, 'image_size': side},
        mask_decoder_config={
            'hidden_size': width, 'mlp_dim': 2 * width, 'num_attention_heads': 4,
            'iou_head_hidden_dim': width, 'dynamic_multimask_via_stability': False},
        image_size=side, multimask_output_in_sam=False, multimask_output_for_tracking=False,
        memory_attention_hidden_size=width, memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=2 * width,
        memory_attention_rope_feat_sizes=[cells, cells], memory_attention_dropout=0.0,
        memory_attention_rope_dropout=0.0, memory_encoder_hidden_size=width,
        memory_encoder_output_channels=MEMORY_WIDTH, mask_downsampler_embed_dim=width,
        memory_fuser_num_layers=1, memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=2 * width,
        memory_fuser_layer_scale_init_value=_LAYER_SCALE,
        # masks are remembered from the decoder's own resolution, not from four times that
        mask_downsampler_total_stride=4, **own_options)


def new_nano_sam2(encoder: str = ENCODER, side: int = SIDE, width: int = WIDTH) -> Sam2VideoModel:
    """
    Make a model with a trained encoder and random weights elsewhere.

    Args:
        encoder: a SegFormer-B0, whose encoder is taken: bundled name, file, folder or hub id.
        side: as in `nano_sam2_config`.
        width: as in `nano_sam2_config`.

    Raises:
        UserError: the segmenter cannot be loaded, or is no SegFormer-B0.
        ValueError: a size is none that `nano_sam2_config` takes.

    """
    segmenter: Any = load_segmenter(encoder)
    model: Any = Sam2VideoModel(nano_sam2_config(side, width))
    _initialise(model)
    backbone = model.vision_encoder.backbone
    fits = isinstance(segmenter.backbone, SegformerBackbone)
    try:
        if fits:
            backbone.segformer.load_state_dict(segmenter.backbone.encoder.state_dict())
    except RuntimeError:
        fits = False
    if not fits:
        raise UserError(f'{encoder} has no MiT-B0 encoder: name a SegFormer-B0')
    backbone.requires_grad_(False)
    made: Sam2VideoModel = model
    return made


def _initialise(model: Any) -> None:
    """Draw what transformers leaves at zero for weights that are loaded."""
    for embedding in (model.no_memory_embedding, model.memory_temporal_positional_encoding,
                      model.no_object_pointer, model.occlusion_spatial_embedding_parameter):
        nn.init.trunc_normal_(embedding, std=0.02)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
        elif hasattr(module, 'scale') and isinstance(module.scale, nn.Parameter):
            nn.init.constant_(module.scale, _LAYER_SCALE)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.reset_parameters()
    # one encoding of places, which transformers holds twice and draws twice
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(
        model.shared_image_embedding.positional_embedding)
    for name, module in model.mask_decoder.transformer.named_modules():
        if 'attn' in name and hasattr(module, 'q_proj'):
            # alike from the start: what lies near a prompt then attends to it
            module.k_proj.weight.data.copy_(module.q_proj.weight.data)


def write_nano_sam2(model: Sam2VideoModel, path: Path, encoder: str = ENCODER) -> None:
    """
    Write all but the encoder, in fp16.

    Args:
        model: made by `new_nano_sam2`.
        path: file to write.
        encoder: the segmenter whose encoder it has, as `new_nano_sam2` was given it.

    """
    vision: Any = model.vision_encoder
    metadata = {'architecture': ARCHITECTURE, 'encoder': encoder,
                'encoder_digest': digest(vision.backbone),
                'side': str(model.config.image_size),
                'width': str(model.config.memory_attention_hidden_size)}
    write_weights({key: value for key, value in model.state_dict().items()
                   if not key.startswith(_ENCODER_KEYS)}, path, metadata)


def read_nano_sam2(path: Path) -> Sam2VideoModel:
    """
    Read a model written by `write_nano_sam2`: float32, on the CPU, in evaluation mode.

    Raises:
        UserError: the file is damaged or something else, or its encoder is not there.

    """
    state, metadata = read_weights(path)
    if metadata.get('architecture') != ARCHITECTURE:
        raise UserError(f'{path} holds no small SAM 2: it must be written by '
                        '`vseg train tracker`')
    try:
        model = _untrained(path, metadata)
        if digest(model.vision_encoder.backbone) != metadata['encoder_digest']:
            raise UserError(f'{path} was trained on another {metadata["encoder"]} than the one '
                            'that is here: train it again, or bring back the old one')
        report = model.load_state_dict(state, strict=False)
    except (KeyError, ValueError, RuntimeError) as error:
        raise _unfit(path) from error
    if report.unexpected_keys or any(not key.startswith(_ENCODER_KEYS)
                                     for key in report.missing_keys):
        raise _unfit(path)
    loaded: Sam2VideoModel = model.eval().requires_grad_(False)
    return loaded


def _untrained(path: Path, metadata: dict[str, str]) -> Any:
    try:
        with torch.random.fork_rng(devices=[]):
            return new_nano_sam2(metadata['encoder'], int(metadata['side']),
                                 int(metadata['width']))
    except UserError as error:
        raise UserError(f'{path} needs the encoder of {metadata["encoder"]}: {error}') from error


def _unfit(path: Path) -> UserError:
    return UserError(f'{path} does not fit its own metadata: it is damaged, train or copy it '
                     'again')
