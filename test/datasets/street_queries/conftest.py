"""Clips of the synthetic street, painted once."""

from __future__ import annotations

import numpy as np
import pytest

from vseg_ros.datasets.street_queries import ClipFacts, clip_facts
from vseg_ros.io.street import InstanceAttributes, StreetFrame, SyntheticStreet

SIZE = (180, 240)
SEEDS = (9, 12, 29)


@pytest.fixture(scope='session')
def street_clips() -> list[list[StreetFrame]]:
    """Return clips of four frames, a third of a second apart."""
    streets = (SyntheticStreet(seed, frames=60, size=SIZE) for seed in SEEDS)
    return [[street[index] for index in range(30, 50, 5)] for street in streets]


@pytest.fixture(scope='session')
def street_facts(street_clips) -> list[ClipFacts]:
    """Return what is known of the clips."""
    return [facts_of([frame.attributes for frame in clip],
                     [frame.frame.stamp * 1e-9 for frame in clip]) for clip in street_clips]


def facts_of(attributes, times) -> ClipFacts:
    """Gather the facts of frames of the usual size."""
    return clip_facts(attributes, times, SIZE)


@pytest.fixture
def make_clip():
    """Return a way to make facts of things by what differs from a parked red hatchback."""
    def make(*changes: dict[str, object], frames: int = 4) -> ClipFacts:
        things = [[thing(1 + index, frame, frames, **change) for frame in range(frames)]
                  for index, change in enumerate(changes)]
        # a post that stands far off, for the camera's speed: it does not move
        post = [thing(99, frame, frames, kind='lamp post', label=5, color='', distance=60.0,
                      motion='fixed') for frame in range(frames)]
        shown = [tuple(one for one in column if one is not None)
                 for column in zip(*things, post, strict=True)]
        return facts_of(shown, (np.arange(frames) * 0.5).tolist())
    return make


def thing(instance: int, frame: int, frames: int, **change: object) -> InstanceAttributes | None:
    """Make the attributes of one thing in one frame; a list gives a value a frame."""
    known: dict[str, object] = {
        'label': 12, 'kind': 'hatchback', 'color': 'red', 'center': 0.2, 'area': 0.01,
        'distance': 15.0, 'lateral': -3.0, 'motion': 'parked', 'speed': 0.0,
        'lateral_speed': 0.0, 'size': (1.7, 1.5, 4.0), 'seen': True}
    known.update(change)
    now = {name: value[frame] if isinstance(value, list) else value
           for name, value in known.items()}
    if not now.pop('seen'):
        return None
    column = round(float(now.pop('center')) * SIZE[1])
    area = round(float(now.pop('area')) * SIZE[0] * SIZE[1])
    return InstanceAttributes(instance_id=instance, box=(column - 8, 90, column + 8, 110),
                              area=area, side='left', appeared_at=0, **now)
