"""
Frozen backbones whose chosen blocks are read: DINOv2, this package's segmenters, and others.

`load_backbone(name, blocks)` turns a name into a `TokenBackbone`, uint8 images in, one feature map
for each chosen block out. What a name may be:

- an image segmenter of this package or a SegFormer: the maps of its encoder, block 1 the finest;
- DINOv2 (with or without registers) and whatever else transformers has a *backbone class* for:
  DINOv3, Swin, ConvNeXt, ResNet, Hiera and more. Blocks are its stages, which for a plain
  transformer are its layers. Class and register tokens are left out.

Maps are the blocks' own outputs, without the final layer norm where transformers leaves the
choice. An architecture without a backbone class needs an adapter, a module that turns normalised
images float [B, 3, H, W] into a tuple of maps float [B, C, h, w]:

    class ViTMaps(nn.Module):
        def __init__(self, model, blocks): ...

        def forward(self, planes):
            states = self.model(planes, output_hidden_states=True,
                                interpolate_pos_encoding=True).hidden_states
            height, width = planes.shape[2] // 16, planes.shape[3] // 16
            return tuple(states[block][:, 1:].mT.unflatten(2, (height, width))
                         for block in self.blocks)

    backbone = TokenBackbone(ViTMaps(model, blocks), probe_side=64)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, SegformerConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING

from vseg_ros.errors import UserError
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.pretrained import explained, load_pretrained, read_config, source_of
from vseg_ros.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, Features, ImageSegmenter
from vseg_ros.weights import find_weights

STAGE = 'stage'
"""What transformers calls the n-th block of a backbone: `stage<n>`."""
UNTRAINED_NORMS = 'hidden_states_norms'
"""Layer norms that Swin and ConvNeXt put on their maps; checkpoints of classifiers lack them."""


class TokenBackbone(nn.Module):
    """
    A frozen backbone, read after chosen blocks.

    It never trains: no gradient passes it, and `train()` leaves it in eval mode. Its weights are
    no part of the `state_dict` of a module around it, which is therefore saved and loaded
    (strictly, too) with what was trained alone; the file names the backbone instead. Its own
    `state_dict()` is whole. `parameters()` lists the frozen weights as well, so that `to()` and
    compilers find them: give an optimiser those with `requires_grad`.

    Args:
        network: normalised images float [B, 3, H, W] -> tuple of maps float [B, C, h, w]; it is
            frozen in place.
        probe_side: side in pixels of a square image that every map divides; the sizes of its
            maps are found out without computing them.
        size_multiple: input sizes are multiples of this; None: of the coarsest map's stride.
        mean: per channel mean that the backbone was trained with, for RGB in 0..1.
        std: per channel standard deviation, likewise.

    Attributes:
        widths: channels C_l of each map.
        strides: pixels of the image, in height and width, for one place of each map.
        size_multiple: input height and width must be multiples of this.

    """

    def __init__(self, network: nn.Module, *, probe_side: int, size_multiple: int | None = None,
                 mean: Sequence[float] = IMAGENET_MEAN,
                 std: Sequence[float] = IMAGENET_STD) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self.eval()
        maps = _probe(network, probe_side)
        self.widths: tuple[int, ...] = tuple(values.shape[1] for values in maps)
        self.strides: tuple[int, ...] = tuple(probe_side // values.shape[2] for values in maps)
        self.size_multiple: int = size_multiple or max(self.strides)
        self.register_state_dict_post_hook(  # type: ignore[no-untyped-call]
            _leave_out_of_state)
        self.register_load_state_dict_pre_hook(  # type: ignore[no-untyped-call]
            _keep_own_state)

    def train(self, mode: bool = True) -> TokenBackbone:
        """Stay in eval mode, whatever the module around this one does."""
        return super().train(False)

    def forward(self, images: Tensor) -> Features:
        """
        Encode images.

        Args:
            images: uint8 [B, H, W, 3], RGB; H and W multiples of `size_multiple`.

        Returns:
            one float [B, C_l, H / stride_l, W / stride_l] for each block, earliest (or finest)
            first, without gradient.

        Raises:
            ValueError: the size is no multiple; the caller resizes.

        """
        height, width = images.shape[1:3]
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(f'images of {width} x {height} pixels: this backbone needs multiples '
                             f'of {self.size_multiple}, resize them first')
        with torch.no_grad():
            # In this order: TensorRT turns no uint8 around.
            planes = images.to(self.mean.dtype).permute(0, 3, 1, 2)
            features: Features = self.network((planes - self.mean) / self.std)
        return features


def load_backbone(name: str, blocks: Sequence[int]) -> TokenBackbone:
    """
    Load a frozen backbone.

    Args:
        name: bundled name or file of an image segmenter, or the folder or hub id of a checkpoint
            of transformers: SegFormer, DINOv2, or any with a backbone class.
        blocks: the blocks after which it is read, counted from 1, in increasing order.

    Returns:
        the backbone in float32 on the CPU.

    Raises:
        UserError: nothing has that name, it cannot be read, is no backbone, or lacks a block.

    """
    weights = find_weights(name)
    if weights.path is not None and not (weights.path / 'config.json').is_file():
        return segmenter_backbone(load_segmenter(name), blocks, name)
    config = read_config(weights, 'backbone')
    if isinstance(config, SegformerConfig):
        return segmenter_backbone(load_segmenter(name), blocks, name)
    if type(config) not in MODEL_FOR_BACKBONE_MAPPING:
        raise UserError(f'{source_of(weights)} is a {config.model_type}, no backbone that can be '
                        'read: give an image segmenter, DINOv2, or wrap it with '
                        'vseg_ros.models.token_backbone.TokenBackbone')
    choose_blocks(config, blocks, name)
    network = load_pretrained(MODEL_FOR_BACKBONE_MAPPING[type(config)], weights, 'backbone',
                              config, may_lack=UNTRAINED_NORMS)
    with explained(weights, 'backbone that takes images of any size'):
        return pretrained_backbone(network)


def segmenter_backbone(segmenter: ImageSegmenter, blocks: Sequence[int],
                       name: str = 'the segmenter') -> TokenBackbone:
    """
    Read the encoder of a segmenter that is loaded already; weights are shared, and frozen.

    Args:
        segmenter: any image segmenter.
        blocks: which of its feature maps, counted from 1 (the finest), in increasing order.
        name: for the message.

    Raises:
        UserError: it has no such map.

    """
    side = segmenter.size_multiple
    check_blocks(blocks, len(_probe(segmenter.backbone, side)), name)
    return TokenBackbone(
        _ChosenMaps(segmenter.backbone, blocks), probe_side=side, size_multiple=side,
        mean=(segmenter.mean.flatten() / 255).tolist(),
        std=(segmenter.std.flatten() / 255).tolist())


def pretrained_backbone(network: Any) -> TokenBackbone:
    """Wrap an instance of a backbone class of transformers; see `choose_blocks`."""
    patch = getattr(network.config, 'patch_size', None)
    # what is hierarchical has patches of 4 pixels or so, which are merged three times
    return TokenBackbone(_FeatureMaps(network),
                         probe_side=32 * (patch if isinstance(patch, int) else 4))


def choose_blocks(config: PreTrainedConfig, blocks: Sequence[int], name: str) -> None:
    """
    Have a backbone of transformers return these blocks: raw outputs, as maps.

    Args:
        config: of a backbone class; changed in place.
        blocks: counted from 1, in increasing order.
        name: for the message.

    Raises:
        UserError: it has no such block.

    """
    settings: Any = config
    check_blocks(blocks, sum(stage.startswith(STAGE) for stage in settings.stage_names), name)
    settings.out_features = [f'{STAGE}{block}' for block in blocks]
    for option, value in (('apply_layernorm', False), ('reshape_hidden_states', True)):
        if hasattr(settings, option):
            setattr(settings, option, value)


def check_blocks(blocks: Sequence[int], count: int, name: str) -> None:
    """
    Refuse blocks that a backbone of `count` blocks does not have.

    Raises:
        UserError: none is given, one is outside 1..count, or they do not increase.

    """
    if not blocks or list(blocks) != sorted(set(blocks)) or blocks[0] < 1 or blocks[-1] > count:
        raise UserError(f'{name} has {count} blocks to read: give some of 1 to {count} in '
                        f'increasing order, not {", ".join(map(str, blocks)) or "none"}')


class _ChosenMaps(nn.Module):
    """Some of the feature maps of a segmenter's backbone."""

    def __init__(self, backbone: nn.Module, blocks: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.blocks = tuple(blocks)

    def forward(self, planes: Tensor) -> Features:
        """Encode normalised images, float [B, 3, H, W]."""
        features: Features = self.backbone(planes)
        return tuple(features[block - 1] for block in self.blocks)


class _FeatureMaps(nn.Module):
    """The feature maps of a backbone of transformers."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor) -> Features:
        """Encode normalised images, float [B, 3, H, W]."""
        return tuple(self.network(planes).feature_maps)


def _probe(network: nn.Module, side: int) -> Features:
    """
    Return the maps of an image of this side, without values: nothing is computed.

    It runs a copy without weights, for some networks change with the image they see: Swin narrows
    its windows for good when one is small.
    """
    weightless: dict[int, Any] = {
        id(value): nn.Parameter(value.to('meta'), requires_grad=False)
        for value in network.parameters()}
    weightless |= {id(value): value.to('meta') for value in network.buffers()}
    precision = next(network.parameters()).dtype
    with torch.no_grad():
        features: Features = copy.deepcopy(network, weightless)(
            torch.zeros(1, 3, side, side, device='meta', dtype=precision))
    return features


def _leave_out_of_state(_module: nn.Module, state: dict[str, Any], prefix: str,
                        _metadata: Mapping[str, Any]) -> None:
    """Take the frozen weights out of the `state_dict` of whatever holds the backbone."""
    if prefix:
        for key in [key for key in state if key.startswith(prefix)]:
            del state[key]


def _keep_own_state(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Let a strict `load_state_dict` of whatever holds the backbone find what is here already."""
    if prefix:
        state.update(module.get_submodule('network').state_dict(prefix=f'{prefix}network.'))
