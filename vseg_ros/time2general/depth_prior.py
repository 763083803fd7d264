"""
The depth prior (Time2General, Sec. 3.2): Depth Anything's tokens, and the gate that mixes them in.

Depth Anything's encoder is a DINOv2, so that its frozen tokens X_dep^(l) lie on the same grid as
those of the RGB backbone. Their modulation Z_dep^(l), computed like the RGB branch's, joins it by
a learned gate beta^(l) in (0, 1), one for each layer:

    Z^(l) = beta^(l) Z_rgb^(l) + (1 - beta^(l)) Z_dep^(l)

The paper leaves the start of the gate open. Here beta is 0.9: the RGB branch leads, and the depth
branch has a gradient from the first step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from vseg_ros.errors import UserError
from vseg_ros.models.pretrained import find_pretrained, load_pretrained, read_config, source_of
from vseg_ros.models.token_backbone import TokenBackbone, choose_blocks, pretrained_backbone

INITIAL_BETA = 0.9
WHAT = 'Depth Anything checkpoint'


def load_depth_tokens(name: str, blocks: Sequence[int]) -> TokenBackbone:
    """
    Load the frozen encoder of Depth Anything, V1 or V2; its depth head is dropped.

    Args:
        name: folder or hub id, such as depth-anything/Depth-Anything-V2-Small-hf.
        blocks: the blocks after which it is read, counted from 1, in increasing order.

    Returns:
        the encoder in float32 on the CPU.

    Raises:
        UserError: it cannot be reached or read, is no Depth Anything, or lacks a block.

    """
    weights = find_pretrained(name, WHAT)
    config = read_config(weights, WHAT)
    if not isinstance(config, DepthAnythingConfig):
        raise UserError(f'{source_of(weights)} is a {config.model_type}, no {WHAT}: give a folder '
                        'or a hub id such as depth-anything/Depth-Anything-V2-Small-hf')
    encoder = config.backbone_config
    if not isinstance(encoder, Dinov2Config):
        raise UserError(f'{source_of(weights)} has no DINOv2 encoder: give Depth Anything V1 or '
                        'V2')
    choose_blocks(encoder, blocks, name)
    model = load_pretrained(DepthAnythingForDepthEstimation, weights, WHAT, config)
    return pretrained_backbone(model.backbone)


def check_same_grid(rgb: TokenBackbone, depth: TokenBackbone) -> None:
    """
    Check that both backbones give as many maps, and each pair with the same places.

    Raises:
        UserError: they do not.

    """
    if rgb.strides != depth.strides:
        raise UserError(f'the depth prior reads maps at strides {_listed(depth)}, the backbone at '
                        f'{_listed(rgb)}: give as many blocks of both, and a DINOv2 backbone '
                        f'with patches of {depth.strides[0]} pixels, or turn the depth prior off')


def _listed(backbone: TokenBackbone) -> str:
    return ', '.join(map(str, backbone.strides))


class DepthGate(nn.Module):
    """
    The layer-wise gate beta between the RGB and the depth modulation.

    Args:
        layers: how many layers there are.

    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        start = math.log(INITIAL_BETA / (1 - INITIAL_BETA))
        self.logits = nn.Parameter(torch.full((layers,), start))

    @property
    def beta(self) -> Tensor:
        """The gates, float [layers], in (0, 1)."""
        return self.logits.sigmoid()

    def forward(self, layer: int, z_rgb: Tensor, z_depth: Tensor) -> Tensor:
        """
        Fuse the two modulations of a layer: Z = beta Z_rgb + (1 - beta) Z_dep.

        Args:
            layer: counted from 0.
            z_rgb: float, any shape.
            z_depth: float, the same shape.

        Returns:
            float, the same shape.

        """
        beta = self.beta[layer]
        return beta * z_rgb + (1 - beta) * z_depth
