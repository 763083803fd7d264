"""
Time2General (Sec. 3): a frozen backbone, and the head that is trained on its features.

`Time2GeneralHead` is everything that is learned: Stability Queries, priors and the memory
decoder. It takes features, so that those of a frame need computing only once, in training
(`drawn_clips`) as on a stream. `Time2General` is the head with its frozen backbones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vseg_ros.labels import LabelSet
from vseg_ros.models.segmenter import Features
from vseg_ros.models.token_backbone import TokenBackbone
from vseg_ros.time2general.deformable_attention import ClipMemory, Size
from vseg_ros.time2general.memory_decoder import MemoryDecoder, class_scores
from vseg_ros.time2general.set_losses import ClipPrediction
from vseg_ros.time2general.stability_queries import StabilityQueries
from vseg_ros.time2general.text_prior import TextPrior
from vseg_ros.training_settings import Time2GeneralModelSettings


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """
    The query-conditioned features of frames, U of Eq. 2.

    Attributes:
        cells: float [F, N, d], of F frames; the cells of all scales, one after the other.
        sizes: height and width of each scale in cells.

    """

    cells: Tensor
    sizes: tuple[Size, ...]

    def scales(self) -> tuple[Tensor, ...]:
        """Split the cells into one float [F, H W, d] a scale."""
        return torch.split(self.cells, [height * width for height, width in self.sizes], 1)

    def memory(self, frames: int) -> ClipMemory:
        """Join every `frames` frames in a row to one clip (Eq. 3)."""
        return ClipMemory(self.cells.view(-1, frames, *self.cells.shape[1:]), self.sizes)


class Time2GeneralHead(nn.Module):
    """
    What is trained.

    Args:
        channels: width of the backbone's features of each block.
        classes: number of classes K.
        settings: architecture.
        text_embeddings: float [K, D], of the class names; None without a text prior.
        depth_channels: width of the depth features of each block; empty without.

    """

    def __init__(self, channels: Sequence[int], classes: int,
                 settings: Time2GeneralModelSettings, text_embeddings: Tensor | None = None,
                 depth_channels: Sequence[int] = ()) -> None:
        super().__init__()
        self.settings = settings
        self.stability = StabilityQueries(
            channels, settings.queries, settings.width, modulation=settings.modulation,
            standardize=settings.standardize, depth_channels=depth_channels)
        self.text = (None if text_embeddings is None
                     else TextPrior(text_embeddings, settings.width))
        self.decoder = MemoryDecoder(settings, len(channels), classes)

    def modulate(self, features: Features, depth: Features = ()) -> PixelFeatures:
        """
        Make query-conditioned features of F frames (Sec. 3.2).

        Args:
            features: of the backbone, one float [F, C, H, W] a block.
            depth: of the depth backbone, likewise; empty without.

        """
        queries = self.stability.queries
        biased = queries if self.text is None else self.text(queries)
        modulated = self.stability(features, biased, depth)
        return PixelFeatures(torch.cat(modulated, 1),
                             tuple((each.shape[2], each.shape[3]) for each in features))

    def fuse(self, pixels: PixelFeatures) -> Tensor:
        """Fuse the scales of each frame (Eq. 5): float [F, d, h, w]."""
        fused: Tensor = self.decoder.fuse(pixels.scales(), pixels.sizes)
        return fused

    def attend(self, memory: ClipMemory) -> list[Tensor]:
        """Update the queries by a memory (Eq. 4): float [B, Q, d] after each block."""
        return self.decoder.update(self.stability.queries, memory)

    def predict(self, queries: Tensor, fused: Tensor) -> ClipPrediction:
        """
        Predict the frames of B clips (Eq. 6).

        Args:
            queries: float [B, Q, d].
            fused: float [B T, d, h, w].

        """
        prediction: ClipPrediction = self.decoder.head(
            queries, fused.view(len(queries), -1, *fused.shape[1:]))
        return prediction

    def forward(self, features: Features, clips: int, depth: Features = (),
                ) -> list[ClipPrediction]:
        """
        Predict whole clips, as in training.

        Args:
            features: of the frames of all clips in a row, one float [B T, C, H, W] a block.
            clips: number of clips B.
            depth: of the depth backbone, likewise; empty without.

        Returns:
            what the queries say after each decoder block, the last being the result. Without
            memory every frame is a clip of its own.

        """
        pixels = self.modulate(features, depth)
        frames = len(pixels.cells) // clips if self.settings.memory else 1
        fused = self.fuse(pixels)
        return [self.predict(queries, fused) for queries in self.attend(pixels.memory(frames))]


class Time2General(nn.Module):
    """
    The head and its frozen backbones.

    Args:
        head: what is trained.
        backbone: the frozen backbone.
        label_set: names and colours of the classes.
        depth: the frozen depth backbone of the depth prior; None without.

    """

    def __init__(self, head: Time2GeneralHead, backbone: TokenBackbone, label_set: LabelSet,
                 depth: TokenBackbone | None = None) -> None:
        super().__init__()
        self.head = head
        self.backbone = backbone
        self.depth = depth
        self.label_set = label_set

    def encode(self, images: Tensor) -> tuple[Features, Features]:
        """Run the frozen backbones on uint8 [F, H, W, 3]: features and depth features."""
        depth: Features = () if self.depth is None else self.depth(images)
        features: Features = self.backbone(images)
        return features, depth

    def forward(self, images: Tensor) -> Tensor:
        """
        Decode clips.

        Args:
            images: uint8 [B, T, H, W, 3], RGB.

        Returns:
            logits, float32 [B, T, K, h, w].

        """
        features, depth = self.encode(images.flatten(0, 1))
        scores = class_scores(self.head(features, len(images), depth)[-1])
        return scores.view(*images.shape[:2], *scores.shape[2:])
