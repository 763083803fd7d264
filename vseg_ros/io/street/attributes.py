"""What the synthetic street tells about a frame: its labels, instances and their attributes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vseg_ros.frame import Frame


@dataclass(frozen=True)
class InstanceAttributes:
    """
    One visible thing of one frame.

    Attributes:
        instance_id: its id, the same in every frame of the video, > 0.
        label: driving id of its class.
        kind: what it is within its class, such as 'hatchback', 'bus', 'pedestrian', 'disc'.
        color: name of its main colour ('white', 'red', …), '' where colour means nothing.
        box: first column, first row, last column + 1, last row + 1 of its visible pixels.
        area: number of its visible pixels.
        distance: metres from the camera along the camera's view.
        lateral: metres to the right (negative: left) of the camera's view.
        side: where its visible box stands in the picture: 'left', 'ahead' (the middle fifth) or
            'right'.
        motion: 'parked', 'stopped', 'same direction', 'oncoming', 'crossing', 'walking',
            'standing' or 'fixed' (poles, signs and lights).
        speed: metres a second over ground.
        lateral_speed: metres a second over ground across the street, to the right.
        size: width, height and length in metres; a lamp post's width spans its arm on both sides.
        appeared_at: first frame of the video in which it is in view, whether or not something
            stands before it.

    """

    instance_id: int
    label: int
    kind: str
    color: str
    box: tuple[int, int, int, int]
    area: int
    distance: float
    lateral: float
    side: str
    motion: str
    speed: float
    lateral_speed: float
    size: tuple[float, float, float]
    appeared_at: int


@dataclass(frozen=True, eq=False)
class StreetFrame:
    """
    One frame of a synthetic street with everything that is known about it.

    Attributes:
        frame: the picture; its stamp is the frame's time in the video.
        labels: uint8 [H, W], driving ids.
        instances: uint16 [H, W], 0 for stuff, else the id of the thing.
        attributes: one entry for every thing with a visible pixel, nearest first.

    """

    frame: Frame
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    attributes: tuple[InstanceAttributes, ...]
