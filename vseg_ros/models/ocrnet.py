"""
OCRNet (Yuan et al. 2020): object-contextual representations over any transformers backbone.

The backbone's feature maps are resized to the finest and concatenated, as for HRNet. From them an
auxiliary head draws a *soft region* for every class (Sec. 3.2 of the paper):

    f_k  = sum_i m_ki x_i                      region k: the pixels x_i, weighed by its map m_k
    w_ik = softmax_k(query(x_i) . key(f_k))    relation of pixel i to region k
    y_i  = output(sum_k w_ik value(f_k))       object-contextual representation of pixel i
    z_i  = fuse([x_i, y_i])                    the embedding, which the classifier reads

As in the paper, every transform is 1x1 convolution, batch normalisation and ReLU. The relation is
scaled by the square root of the key's width, as is usual for attention.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig

from vseg_ros.labels import LabelSet
from vseg_ros.models.reliability import upsample
from vseg_ros.models.segmenter import Decoded, Features, ImageSegmenter

DROPOUT = 0.05
"""Share of the embedding's channels that is dropped before the classifier in training."""
SIZE_MULTIPLE = 32
"""Coarsest stride of the usual hierarchical backbones."""


class FeatureBackbone(nn.Module):
    """
    Any backbone that transformers has, with random weights.

    Args:
        config: the backbone's configuration: `model_type`, `out_indices` and sizes.

    Raises:
        ValueError: transformers knows no such backbone.

    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.network: Any = AutoBackbone.from_config(  # type: ignore[no-untyped-call]
            AutoConfig.for_model(**config))

    @property
    def channels(self) -> list[int]:
        """Channels of each feature map, in order of the output."""
        return [int(channels) for channels in self.network.channels]

    @property
    def size_multiple(self) -> int:
        """Input sizes that every feature map divides: of a patch, where patches do not fit 32."""
        patch = getattr(self.network.config, 'patch_size', None)
        return patch if isinstance(patch, int) and SIZE_MULTIPLE % patch else SIZE_MULTIPLE

    def forward(self, images: Tensor) -> Features:
        """Encode normalised images, float [B, 3, H, W]."""
        return tuple(self.network(images).feature_maps)


class OcrDecoder(nn.Module):
    """
    Soft object regions, region representations, and attention from pixels to regions.

    Args:
        channels: of each of the backbone's feature maps.
        classes: number of classes, and so of regions.
        width: D, channels of pixels, regions and embedding.
        key_width: channels of query, key and value.

    """

    def __init__(self, channels: Sequence[int], classes: int, width: int = 512,
                 key_width: int = 256) -> None:
        super().__init__()
        total = sum(channels)
        self.embedding_width = width
        self.key_width = key_width
        self.auxiliary = nn.Sequential(_transform(total, total), nn.Conv2d(total, classes, 1))
        self.pixel = _transform(total, width, 3)
        self.query = nn.Sequential(_transform(width, key_width), _transform(key_width, key_width))
        self.key = nn.Sequential(_transform(width, key_width), _transform(key_width, key_width))
        self.value = _transform(width, key_width)
        self.output = _transform(key_width, width)
        self.fuse = _transform(2 * width, width)
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, features: Features) -> Decoded:
        """Decode feature maps, [B, C_i, h_i, w_i] each, at the size of the first."""
        return self.decode_with_regions(features)[0]

    def decode_with_regions(self, features: Features) -> tuple[Decoded, Tensor]:
        """
        Decode and return the auxiliary logits too, which training supervises as well.

        Returns:
            embedding and logits, and the logits of the soft object regions [B, C, h, w].

        """
        size = (features[0].shape[-2], features[0].shape[-1])
        levels = torch.cat([features[0], *(upsample(level, size) for level in features[1:])], 1)
        regions = self.auxiliary(levels)
        pixels = self.pixel(levels)
        context = self.output(self._attend(pixels, gather_regions(pixels, regions)))
        embedding = self.fuse(torch.cat([pixels, context], 1))
        return Decoded(embedding, self.classifier(self.dropout(embedding))), regions

    def _attend(self, pixels: Tensor, objects: Tensor) -> Tensor:
        """Mix the regions' values by each pixel's relation to them, [B, key_width, h, w]."""
        query, key, value = (tokens.flatten(2).transpose(1, 2) for tokens in (
            self.query(pixels), self.key(objects), self.value(objects)))
        mixed = F.scaled_dot_product_attention(query, key, value)
        return mixed.transpose(1, 2).reshape(len(pixels), -1, *pixels.shape[-2:])


def gather_regions(pixels: Tensor, regions: Tensor) -> Tensor:
    """
    Average the pixels of every soft object region.

    Args:
        pixels: float [B, D, h, w].
        regions: float [B, C, h, w], the regions' logits; a softmax over space weighs the pixels.

    Returns:
        float [B, D, C, 1].

    """
    weights = regions.flatten(2).softmax(2).to(pixels.dtype)
    return (pixels.flatten(2) @ weights.transpose(1, 2))[..., None]


def new_ocrnet(label_set: LabelSet, backbone: Mapping[str, Any], width: int = 512,
               key_width: int = 256) -> ImageSegmenter:
    """
    Make an OCRNet with random weights.

    Args:
        label_set: the classes to predict.
        backbone: configuration of a transformers backbone, as for `FeatureBackbone`.
        width: channels of pixels, regions and embedding.
        key_width: channels of query, key and value.

    Raises:
        ValueError: transformers knows no such backbone.

    """
    encoder = FeatureBackbone(backbone)
    decoder = OcrDecoder(encoder.channels, len(label_set), width, key_width)
    return ImageSegmenter(encoder, decoder, label_set, size_multiple=encoder.size_multiple)


def describe_ocrnet(backbone: FeatureBackbone, decoder: OcrDecoder) -> dict[str, str]:
    """Describe an OCRNet for the metadata of its file, as `ocrnet_from_metadata` reads it."""
    return {'architecture': 'ocrnet', 'width': str(decoder.embedding_width),
            'key_width': str(decoder.key_width),
            'backbone': json.dumps(backbone.network.config.to_diff_dict())}


def ocrnet_from_metadata(label_set: LabelSet, metadata: Mapping[str, str]) -> ImageSegmenter:
    """Make an OCRNet with random weights from what `describe_ocrnet` wrote."""
    return new_ocrnet(label_set, json.loads(metadata['backbone']), int(metadata['width']),
                      int(metadata['key_width']))


def _transform(inputs: int, outputs: int, kernel: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
                         nn.BatchNorm2d(outputs), nn.ReLU())
