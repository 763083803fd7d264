"""What is segmented while speed is measured: frames of the synthetic street, made beforehand."""

from __future__ import annotations

from itertools import cycle, islice

from vseg_ros.frame import Frame
from vseg_ros.io.street import SyntheticStreet

FPS = 15.0


def street_frames(seed: int, count: int, size: tuple[int, int]) -> list[Frame]:
    """Paint the first `count` frames of a street, height and width as in `size`."""
    return [painted.frame for painted in SyntheticStreet(seed, count, size, FPS)]


def endless(frames: list[Frame], count: int) -> list[Frame]:
    """Repeat frames until there are `count`, with stamps that go on."""
    return [Frame(frame.image, round(index * 1e9 / FPS), frame.frame_id)
            for index, frame in enumerate(islice(cycle(frames), count))]
