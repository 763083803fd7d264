"""
Referring data sets as clips to learn from, for `vseg train virst`.

A video becomes one clip: evenly spaced frames, and a number for every pixel that tells which of
the video's sentences mean it, so that sentences whose objects overlap share one map. Which numbers
belong to a sentence is kept in the clip's notes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vseg_ros.datasets.referring import ReferringClip, by_video
from vseg_ros.datasets.street_queries import NO_MATCH
from vseg_ros.errors import UserError
from vseg_ros.frame import BoolArray
from vseg_ros.models.encoded_clips import EncodedClip, EncodedClips, TrackingClip
from vseg_ros.virst.claims import ThingClaims
from vseg_ros.virst.training_batches import Question

FOUND = 'here it is'
"""What should be answered where a sentence means something; the data sets have no answers."""


class ReferringVideos:
    """
    One clip of each video of a data set.

    Args:
        clips: of `open_referring`, a sentence each.
        length: frames a clip; a shorter video shows some of its frames again.

    Attributes:
        length: as given.

    Raises:
        UserError: the masks are not published.

    """

    def __init__(self, clips: Sequence[ReferringClip], length: int) -> None:
        if not all(clip.has_masks for clip in clips):
            raise UserError('this split has no masks to learn from: train on another')
        self._videos = list(by_video(clips))
        self.length = length

    def __len__(self) -> int:
        """Count the videos."""
        return len(self._videos)

    def __getitem__(self, index: int) -> TrackingClip:
        """
        Read a clip; its notes are its sentences with the regions that each means.

        Raises:
            UserError: a file is missing or damaged, or a video changes its size.

        """
        asked = self._videos[index]
        numbers = np.linspace(0, len(asked[0]) - 1, self.length).round().astype(int).tolist()
        images = [frame.image for frame in asked[0].frames(numbers)]
        if len({image.shape for image in images}) > 1:
            raise UserError(f'the frames of {asked[0].name} have several sizes: download them '
                            'again')
        masks = [mask for clip in asked if (mask := clip.masks(numbers)) is not None]
        for mask in masks:
            if mask.shape != (self.length, *images[0].shape[:2]):
                raise UserError(f'a mask of {asked[0].name} has another size than its image: '
                                'download both again')
        regions, meant = share_regions(masks)
        notes = [{'text': clip.expression, 'regions': each}
                 for clip, each in zip(asked, meant, strict=True)]
        return TrackingClip(np.stack(images), regions, json.dumps(notes))


class QuestionedVideos:
    """Encoded clips of `ReferringVideos`, and their sentences as questions."""

    def __init__(self, clips: EncodedClips) -> None:
        self._clips = clips

    def __len__(self) -> int:
        """Count the clips."""
        return len(self._clips)

    def __getitem__(self, index: int) -> EncodedClip:
        """Return a clip."""
        return self._clips[index]

    def claims(self, index: int) -> ThingClaims | None:
        """Return None: these data sets tell of a thing only what their sentences say."""
        return None

    def questions(self, index: int, count: int, random: np.random.Generator) -> list[Question]:
        """Draw up to `count` questions about a clip."""
        told = json.loads(self._clips.notes(index))
        drawn = [told[number] for number in random.permutation(len(told))[:count]]
        return [Question(each['text'], FOUND if each['regions'] else NO_MATCH,
                         frozenset(each['regions'])) for each in drawn]


def share_regions(masks: Sequence[BoolArray]) -> tuple[NDArray[np.uint16], list[list[int]]]:
    """
    Put masks that may overlap into one map.

    Args:
        masks: bool [T, H, W] each, at least one.

    Returns:
        numbers uint16 [T, H, W], one for every set of masks that share pixels, 0 outside of all;
        and for each mask the numbers it is made of.

    """
    regions = np.zeros(masks[0].shape, np.int64)
    # the masks that a number lies in, by number
    members: list[tuple[int, ...]] = [()]
    for index, mask in enumerate(masks):
        inside = regions[mask]
        present = np.unique(inside)
        table = np.zeros(len(members), np.int64)
        table[present] = np.arange(len(members), len(members) + len(present))
        regions[mask] = table[inside]
        members += [(*members[number], index) for number in present.tolist()]
        regions, members = _without_gaps(regions, members)
    return regions.astype(np.uint16), [
        [number for number, held in enumerate(members) if index in held]
        for index in range(len(masks))]


def _without_gaps(regions: NDArray[np.int64], members: list[tuple[int, ...]]
                  ) -> tuple[NDArray[np.int64], list[tuple[int, ...]]]:
    """Forget numbers that no pixel has any more, but for 0."""
    used = np.bincount(regions.ravel(), minlength=len(members)) > 0
    used[0] = True
    numbers = np.cumsum(used) - 1
    return numbers[regions], [held for held, kept in zip(members, used, strict=True) if kept]
