"""
Mask-based contrastive alignment (DiTTA, Sec. 3.3, Eq. 6 and 7).

Every tracked object has a prototype: the reliability-weighted mean of the momentum encoder's
features inside its mask, kept as a running average over the warm-up (Eq. 6). The features of
the model being adapted are pulled towards the prototype of the object they belong to and away
from the others', a cross entropy over objects at every pixel of a mask (Eq. 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.ditta.row_step import fill_up
from vseg_ros.models.reliability import upsample

TINY = 1e-12
"""Shortest length that a feature is divided by, as in `F.normalize`."""


class ProjectionHead(nn.Sequential):
    """
    Three 1x1 convolutions of the embedding's width, for the contrastive features only.

    They are computed as matrix products, and within `only` at some cells alone: features are read
    nowhere but inside masks.
    """

    def __init__(self, width: int) -> None:
        super().__init__(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1),
                         nn.ReLU(), nn.Conv2d(width, width, 1))
        self._wanted: Tensor | None = None

    @contextmanager
    def only(self, wanted: Tensor) -> Iterator[None]:
        """
        Leave cells out for a while: their features are zero.

        Args:
            wanted: bool [h, w]; of no effect on an embedding of another size.

        """
        self._wanted = wanted
        try:
            yield
        finally:
            self._wanted = None

    def forward(self, embedding: Tensor) -> Tensor:
        """Project an embedding, float [B, D, h, w], to features of the same shape."""
        cells = embedding.flatten(2)
        if self._wanted is None or self._wanted.shape != embedding.shape[2:]:
            return self._project(cells).view_as(embedding)
        places = self._wanted.flatten().nonzero().squeeze(1)
        found = self._project(cells.index_select(2, fill_up(places)))[..., :len(places)]
        return torch.zeros_like(cells).index_copy(2, places, found).view_as(embedding)

    def _project(self, cells: Tensor) -> Tensor:
        """Run the layers on [B, D, n]."""
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                assert layer.bias is not None
                weight = layer.weight.flatten(1).expand(len(cells), -1, -1)
                cells = torch.baddbmm(layer.bias[:, None], weight, cells)
            else:
                cells = F.relu(cells, inplace=True)
        return cells


class Prototypes:
    """
    The running prototypes of all objects of one warm-up (Eq. 6).

    Attributes:
        vectors: object id -> unit vector [D].

    """

    def __init__(self) -> None:
        self.vectors: dict[int, Tensor] = {}

    @torch.no_grad()
    def update(self, features: Tensor, reliability: Tensor, objects: Tensor,
               ) -> tuple[Tensor, Tensor]:
        """
        Renew the prototypes of the objects in a frame.

        Args:
            features: momentum features, float [D, H, W]; their directions count.
            reliability: Eq. 2 of the momentum branch, float [H, W].
            objects: int64 [H, W], object ids; 0 is no object.

        Returns:
            ids of the objects in the frame, int64 [O], ascending; their prototypes, [O, D].

        """
        ids, slots = torch.unique(objects, return_inverse=True)
        length = features.square().sum(0).sqrt().clamp_min(TINY)
        weights = (reliability / length).flatten()
        members = features.new_zeros(len(ids), len(weights))
        members.scatter_(0, slots.flatten()[None], weights[None])
        sums = members @ features.flatten(1).T
        keep = ids != 0
        ids, fresh = ids[keep], F.normalize(sums[keep], dim=1)
        for i, object_id in enumerate(ids.tolist()):
            before = self.vectors.get(object_id)
            if before is not None:
                fresh[i] = F.normalize((fresh[i] + before) / 2, dim=0)
            self.vectors[object_id] = fresh[i].clone()
        return ids, fresh


def contrastive_loss(features: Tensor, objects: Tensor, ids: Tensor, prototypes: Tensor,
                     temperature: float) -> Tensor:
    """
    Eq. 7: cross entropy of every masked pixel over the objects of the frame.

    The sum over masked pixels is divided by *all* pixels, so that the term weighs as much as
    the masks cover.

    Args:
        features: features of the model being adapted, float [D, H, W]; their directions count.
        objects: int64 [H, W], object ids; 0 is no object.
        ids: int64 [O], ascending, the objects of the frame.
        prototypes: float [O, D], unit length.
        temperature: divides the similarities.

    Returns:
        scalar; zero for a frame without objects.

    """
    if not len(ids):
        return features.sum() * 0
    inside = objects.flatten().nonzero().squeeze(1)
    chosen = features.flatten(1).index_select(1, inside)
    # clamped before the root, whose slope has no bound at zero
    length = chosen.square().sum(0).clamp_min(TINY ** 2).sqrt()
    similarity = prototypes @ chosen / (length * temperature)
    target = torch.searchsorted(ids, objects.flatten().index_select(0, inside))
    return F.cross_entropy(similarity[None], target[None], reduction='sum') / objects.numel()


def sized_features(features: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Resize features as directions: unit vectors are interpolated, whatever their length before.

    Args:
        features: float [1, D, h, w].
        size: height and width wanted.

    Returns:
        float [D, H, W], of any length; as they are if they have the size already.

    """
    if tuple(features.shape[-2:]) == tuple(size):
        return features[0]
    return upsample(F.normalize(features, dim=1), size)[0]
