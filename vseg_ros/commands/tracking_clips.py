"""Clips that a small SAM 2 and a small VIRST learn from: streets, and pans over images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.commands.train_segmenter import FIRST_TRAINING_SEED
from vseg_ros.datasets.street_queries import ClipFacts, clip_facts
from vseg_ros.errors import UserError
from vseg_ros.io.image_folder import ImageFolder
from vseg_ros.io.street import InstanceAttributes, StreetFrame, SyntheticStreet
from vseg_ros.labels import DRIVING
from vseg_ros.models.clip_sampling import pan_clip
from vseg_ros.models.encoded_clips import TrackingClip
from vseg_ros.models.tracker_training import FIRST_STUFF

STREET_FPS = 15.0
STREET_SPACINGS = (2, 4, 6, 8)
"""Frames at 15 Hz from one frame of a clip to the next: 7.5 to 1.9 Hz."""
THINGS = (6, 7, 10, 11, 12, 13, 14)
"""Driving ids of which every connected patch is a thing of its own."""
PAN_SPEED = 0.06


class StreetClips:
    """
    One clip of each of many streets.

    Args:
        count: number of clips.
        length: frames a clip.
        first_seed: seed of the first street.

    """

    def __init__(self, count: int, length: int, first_seed: int = FIRST_TRAINING_SEED) -> None:
        self._count, self._length, self._first_seed = count, length, first_seed

    def __len__(self) -> int:
        """Count the clips."""
        return self._count

    def __getitem__(self, index: int) -> TrackingClip:
        """Paint a clip; its notes are the attributes of every frame."""
        frames, dark = self.frames(index)
        regions = np.stack([street_regions(frame) for frame in frames])
        return TrackingClip(np.stack([frame.frame.image for frame in frames]), regions,
                            write_notes(frames, dark))

    def frames(self, index: int) -> tuple[list[StreetFrame], bool]:
        """Paint the frames of a clip; also tells whether it is night."""
        if not 0 <= index < self._count:
            raise IndexError(f'clip {index} of {self._count}')
        random = np.random.default_rng((self._first_seed, index))
        spacing = int(random.choice(STREET_SPACINGS))
        start = int(random.integers(0, 200))
        street = SyntheticStreet(self._first_seed + index, start + spacing * self._length,
                                 fps=STREET_FPS)
        frames = [street[start + spacing * step] for step in range(self._length)]
        return frames, street.conditions.lighting == 'night'


class PannedClips:
    """
    Pans over labelled images: things are connected patches of a class, stuff whole classes.

    Args:
        folders: images with driving labels.
        count: number of clips.
        length: frames a clip.
        size: height and width of a frame.
        seed: of the pans.

    """

    def __init__(self, folders: Sequence[ImageFolder], count: int, length: int,
                 size: tuple[int, int] = (360, 480), seed: int = 0) -> None:
        self._images = [(folder, number) for folder in folders for number in range(len(folder))]
        self._count = count if self._images else 0
        self._length, self._size, self._seed = length, size, seed

    def __len__(self) -> int:
        """Count the clips."""
        return self._count

    def __getitem__(self, index: int) -> TrackingClip:
        """Pan over an image."""
        if not 0 <= index < self._count:
            raise IndexError(f'clip {index} of {self._count}')
        random = np.random.default_rng((self._seed, index))
        folder, number = self._images[index % len(self._images)]
        item = folder[number]
        if item.labels is None:
            raise UserError(f'image {number} of {folder.name} has no labels: train on a folder '
                            'with labels for every image')
        patches, numbers = _patches(item.labels.astype(np.uint8))
        images, moved = pan_clip(item.frame.image, patches, self._length, self._size, (1.0, 1.8),
                                 random, speed=PAN_SPEED)
        return TrackingClip(images, numbers[moved])


class JoinedClips:
    """Several sources of clips of one length, one after the other."""

    def __init__(self, *sources: StreetClips | PannedClips) -> None:
        self._sources = sources

    def __len__(self) -> int:
        """Count the clips."""
        return sum(len(source) for source in self._sources)

    def __getitem__(self, index: int) -> TrackingClip:
        """Make a clip."""
        for source in self._sources:
            if index < len(source):
                return source[index]
            index -= len(source)
        raise IndexError('no such clip')


def street_regions(frame: StreetFrame) -> NDArray[np.uint16]:
    """Return a number for every thing and every class of stuff: uint16 [H, W]."""
    stuff = frame.labels.astype(np.uint16) + FIRST_STUFF
    stuff[frame.labels == DRIVING.ignore_id] = 0
    return np.where(frame.instances > 0, frame.instances, stuff)


def write_notes(frames: Sequence[StreetFrame], dark: bool) -> str:
    """Put what a clip's sentences need down as JSON."""
    return json.dumps({
        'size': frames[0].frame.size, 'dark': dark,
        'times': [frame.frame.stamp / 1e9 for frame in frames],
        'attributes': [[asdict(each) for each in frame.attributes] for frame in frames]})


def read_notes(notes: str) -> ClipFacts:
    """Gather the facts of a clip from what `write_notes` wrote."""
    content = json.loads(notes)
    attributes = [tuple(InstanceAttributes(**{
        **each, 'box': tuple(each['box']), 'size': tuple(each['size'])}) for each in frame)
        for frame in content['attributes']]
    height, width = content['size']
    return clip_facts(attributes, content['times'], (height, width), dark=content['dark'])


def _patches(labels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return the patches of an image, numbered from 0, and the region of each number."""
    patches = np.full(labels.shape, DRIVING.ignore_id, np.uint8)
    regions = np.zeros(256, np.uint16)
    used = 0
    for label in np.unique(labels[labels != DRIVING.ignore_id]):
        parts = (labels == label).astype(np.uint8)
        count = 2
        if label in THINGS:
            count, parts = cv2.connectedComponents(parts)
        for part in range(1, min(count, DRIVING.ignore_id - used)):
            patches[parts == part] = used
            regions[used] = used + 1 if label in THINGS else FIRST_STUFF + int(label)
            used += 1
    return patches, regions
