"""
Temporal Dynamic Anchor Updater (TDAU): direct masks on anchors, propagated ones in between.

Of the sampled frames, alpha are anchors, evenly spaced. On an anchor SAM 2's mask decoder takes
the frame's prompts from STF in the place of point prompts, and looks at the frame alone. Every
other frame is found through the memories of `anchor_memory.py`. Anchors come first, so that a
frame may also attend to an anchor ahead of it. All works on B objects at once, each on its own
video, so that training and use share the code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vseg_ros.models.sam2_memory import Memory
from vseg_ros.models.sam2_network import ImageFeatures, Sam2Network, Segmented
from vseg_ros.settings import AnchorSettings
from vseg_ros.virst.anchor_memory import AnchorMemory

FeaturesOf = Callable[[int], ImageFeatures]
"""Gives SAM 2's features of a frame, by its index."""


class AnchorPrompt(NamedTuple):
    """
    What is asked of SAM 2 on an anchor.

    Attributes:
        tokens: float [B, N, C], from STF.
        coarse: float [B, g, g], 0..1, about where the objects are; None in the released model.

    """

    tokens: Tensor
    coarse: Tensor | None = None


def choose_anchors(frames: int, count: int) -> list[int]:
    """Choose up to `count` of `frames` frames, evenly spaced from the first to the last."""
    if count >= frames:
        return list(range(frames))
    if count == 1:
        return [0]
    return [round(number * (frames - 1) / (count - 1)) for number in range(count)]


class AnchorUpdater:
    """
    Follows B objects, each through its own video.

    Args:
        network: SAM 2.
        settings: how many anchors and memories count.
        several: whether the best of three mask candidates counts, as in the released model, or
            the one that the mask decoder gives for a clear prompt.

    """

    def __init__(self, network: Sam2Network, settings: AnchorSettings,
                 several: bool = False) -> None:
        self._network, self._settings, self._several = network, settings, several
        self._memories: list[AnchorMemory] = []

    def anchor(self, index: int, features: ImageFeatures, prompt: AnchorPrompt) -> Segmented:
        """
        Predict a frame from its prompts, and remember it as an anchor.

        Args:
            index: of the frame.
            features: of it; of B videos, or of one that all objects share.
            prompt: of the frame.

        """
        found = self._network.segment_prompts(features, prompt.tokens, self._several,
                                              prompt.coarse)
        for memory, learnt in zip(self._each(len(prompt.tokens)), self._memorise(features, found),
                                  strict=True):
            memory.add_anchor(index, learnt)
        return found

    def propagate(self, index: int, features: ImageFeatures) -> Segmented:
        """
        Find the objects on a frame that is no anchor, through what is remembered.

        Raises:
            ValueError: there is no anchor yet.

        """
        if not self._memories:
            raise ValueError('nothing to propagate: predict an anchor first')
        recalled = [memory.recall(index) for memory in self._memories]
        found = self._network.segment_remembered(features, recalled)
        for memory, learnt in zip(self._memories, self._memorise(features, found), strict=True):
            memory.add_recent(index, learnt)
        return found

    def run(self, frames: Sequence[int], features_of: FeaturesOf,
            anchors: Mapping[int, AnchorPrompt]) -> list[Segmented]:
        """
        Segment a window.

        Args:
            frames: indices of its frames, rising.
            features_of: gives their features.
            anchors: prompts of the frames among them that are anchors; at least one.

        Returns:
            what was found, in the order of `frames`.

        """
        found = {index: self.anchor(index, features_of(index), prompt)
                 for index, prompt in anchors.items()}
        for index in frames:
            if index not in found:
                found[index] = self.propagate(index, features_of(index))
        return [found[index] for index in frames]

    def copy(self) -> AnchorUpdater:
        """Return one that remembers the same and then goes its own way; no tensor is copied."""
        twin = AnchorUpdater(self._network, self._settings, self._several)
        twin._memories = [memory.copy() for memory in self._memories]
        return twin

    def forget(self, newest: int) -> None:
        """Keep of the anchors what a live stream will ask for, so that memory stays bounded."""
        for memory in self._memories:
            memory.forget_anchors(newest)

    def _memorise(self, features: ImageFeatures, found: Segmented) -> list[Memory]:
        spatial = self._network.encode_memory(
            features, self._network.memory_masks(found.logits), found.scores, prompted=False)
        return [Memory(*pair) for pair in zip(spatial, found.pointers, strict=True)]

    def _each(self, objects: int) -> list[AnchorMemory]:
        if not self._memories:
            self._memories = [
                AnchorMemory(self._settings.attended, self._settings.memory,
                             self._network.pointers) for _ in range(objects)]
        return self._memories


def stack_features(features: Sequence[ImageFeatures]) -> Tensor:
    """Lay the stride 16 features of T frames, each of B videos, out as [B, T, C, h, w]."""
    maps = []
    for each in features:
        height, width = each.medium.shape[-2] // 2, each.medium.shape[-1] // 2
        maps.append(each.tokens.permute(1, 2, 0).reshape(
            *each.tokens.shape[1:], height, width))
    return torch.stack(maps, 1)
