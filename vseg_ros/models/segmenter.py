"""
The adapter that every image segmenter fits: a backbone, a decoder, and class names.

DiTTA needs two things of a segmenter that a bare `model(image) -> logits` hides: the decoder's
fused *embedding* (what its temporal add-on attends with) and the cut between the *backbone*,
which stays frozen, and the *decoder*, which is adapted. `ImageSegmenter` is that cut. A new
architecture is added by wrapping its two halves:

    ImageSegmenter(backbone, decoder, label_set)

where `backbone(images)` returns a tuple of feature maps and `decoder(features)` returns
`Decoded(embedding, logits)`. See `segformer.py` and `ocrnet.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vseg_ros.labels import LabelSet

Features = tuple[Tensor, ...]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Decoded(NamedTuple):
    """
    What a decoder makes of the features.

    Attributes:
        embedding: float [B, D, h, w], the fused embedding before dropout and classifier.
        logits: float [B, C, h, w].

    """

    embedding: Tensor
    logits: Tensor


class ImageSegmenter(nn.Module):
    """
    A segmenter cut into a backbone and a decoder.

    Args:
        backbone: float [B, 3, H, W] (normalised RGB) -> tuple of feature maps.
        decoder: tuple of feature maps -> `Decoded`.
        label_set: names and colours of the classes, in order of the logits.
        mean: per channel mean that the backbone was trained with, for RGB in 0..1.
        std: per channel standard deviation, likewise.
        size_multiple: input sizes are rounded to multiples of this many pixels.

    """

    def __init__(self, backbone: nn.Module, decoder: nn.Module, label_set: LabelSet, *,
                 mean: tuple[float, float, float] = IMAGENET_MEAN,
                 std: tuple[float, float, float] = IMAGENET_STD,
                 size_multiple: int = 32) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.label_set = label_set
        self.size_multiple = size_multiple
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def normalize(self, images: Tensor) -> Tensor:
        """
        Turn camera images into the backbone's input.

        Args:
            images: uint8 [B, H, W, 3], RGB.

        Returns:
            [B, 3, H, W] in the precision of the model, zero mean and unit variance.

        """
        planes = images.permute(0, 3, 1, 2).to(self.mean.dtype)
        return (planes - self.mean) / self.std

    def encode(self, images: Tensor) -> Features:
        """Run the backbone on uint8 [B, H, W, 3] RGB images."""
        features: Features = self.backbone(self.normalize(images))
        return features

    def decode(self, features: Features) -> Decoded:
        """Run the decoder on the backbone's features."""
        decoded: Decoded = self.decoder(features)
        return decoded

    def forward(self, images: Tensor) -> Decoded:
        """Run both halves on uint8 [B, H, W, 3] RGB images."""
        return self.decode(self.encode(images))
