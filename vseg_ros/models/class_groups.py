"""
A segmenter that speaks other classes than it was trained on (DiTTA, supplement A4).

The logit of a target class is the largest of those of its source classes; source classes without
a target are left out:

    z'_t = max over s in group(t) of z_s

The grouping follows the decoder's logits at their own resolution, so that everything that comes
after (upsampling, reliability, class votes, distillation, fusion) is in target classes. Grouping
is no layer with weights: what is adapted and saved is the decoder within.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vseg_ros.class_maps import ClassMap
from vseg_ros.models.segmenter import Decoded, Features, ImageSegmenter

ABSENT = -1e4
"""Logit of a target class that no source class means: a probability of 0 in float16, too."""


class ClassGroups(nn.Module):
    """
    The largest logit of each group of classes.

    Args:
        groups: for each target class the ids of its source classes, maybe none.

    """

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        longest = max(len(group) for group in groups)
        # a short group repeats its first member, which changes no maximum
        self.register_buffer('members', torch.tensor([
            [group[min(place, len(group) - 1)] if group else 0 for group in groups]
            for place in range(longest)]), persistent=False)
        self.register_buffer('absent', torch.tensor([not group for group in groups]).view(
            1, -1, 1, 1), persistent=False)
        self.members: Tensor
        self.absent: Tensor
        self._any_absent = bool(self.absent.any())

    def forward(self, logits: Tensor) -> Tensor:
        """Group float [B, S, h, w] to [B, T, h, w]; `ABSENT` where a group has no member."""
        highest = logits.index_select(1, self.members[0])
        for place in range(1, len(self.members)):
            highest = torch.maximum(highest, logits.index_select(1, self.members[place]))
        return highest.masked_fill(self.absent, ABSENT) if self._any_absent else highest


class GroupedDecoder(nn.Module):
    """
    A decoder whose logits are grouped.

    Args:
        decoder: tuple of feature maps -> `Decoded` in source classes.
        groups: from source to target classes.

    """

    def __init__(self, decoder: nn.Module, groups: ClassGroups) -> None:
        super().__init__()
        self.decoder = decoder
        self.groups = groups

    @property
    def embedding_width(self) -> int:
        """Channels of the embedding, which stays as it is."""
        return int(self.decoder.embedding_width)  # type: ignore[arg-type]

    def forward(self, features: Features) -> Decoded:
        """Decode the feature maps into the embedding and logits of the target classes."""
        decoded: Decoded = self.decoder(features)
        return Decoded(decoded.embedding, self.groups(decoded.logits))

    def fold(self) -> GroupedDecoder:
        """Make a frozen copy, its decoder folded if that can fold itself."""
        fold: Callable[[], nn.Module] | None = getattr(self.decoder, 'fold', None)
        inner = copy.deepcopy(self.decoder) if fold is None else fold()
        return GroupedDecoder(inner.eval().requires_grad_(False), copy.deepcopy(self.groups))


def split_decoder(decoder: nn.Module) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """
    Take a decoder apart for a runtime that runs only plain ones.

    Returns:
        the decoder in source classes, and what is to be done to its logits.

    """
    if isinstance(decoder, GroupedDecoder):
        return decoder.decoder, decoder.groups
    return decoder, lambda logits: logits


def group_classes(segmenter: ImageSegmenter, class_map: ClassMap) -> ImageSegmenter:
    """
    Let a segmenter speak a class map's target classes.

    Args:
        segmenter: of the map's source classes; changed in place.
        class_map: what its classes mean.

    Returns:
        the segmenter.

    Raises:
        UserError: the segmenter lacks a class that the map names.

    """
    groups = ClassGroups(class_map.groups(segmenter.label_set.names))
    segmenter.decoder = GroupedDecoder(segmenter.decoder, groups)
    segmenter.label_set = class_map.target
    return segmenter
