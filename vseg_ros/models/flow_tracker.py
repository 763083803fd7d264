"""
The tracker that needs no weights: masks ride on dense optical flow.

Each pair of neighbouring frames gets its flow once, in both directions, when a direction is first
walked; the last `KEPT_PAIRS` pairs are kept for the way back (5 bytes a pixel of the working size
and direction, 3.1 MB at 640x480), older ones are computed again from the grey images, of which
one a frame is kept (0.3 MB). An object whose mask gets smaller than `SMALLEST_AREA` pixels, or of
which the flow supports less than `SMALLEST_SUPPORT` from one frame to the next, is lost and stays
lost. See `optical_flow.py` for the flow and `mask_warp.py` for the masks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from vseg_ros.frame import BoolArray, UInt8Array
from vseg_ros.models.mask_warp import BoxedMask, PixelOrigins
from vseg_ros.models.optical_flow import Flow, FlowEstimator
from vseg_ros.models.tracker import FramePosition, Point, check_image, check_mask

KEPT_PAIRS = 128
SMALLEST_AREA = 8
SMALLEST_SUPPORT = 0.25


class FlowTracker:
    """Follows masks by optical flow; see `MaskTracker`."""

    name = 'flow'
    wants_masks = True

    def open(self) -> FlowSession:
        """Start on a new video."""
        return FlowSession()

    def release(self) -> None:
        """Do nothing: there are no weights."""


class FlowSession:
    """The objects of one video; see `TrackingSession`."""

    def __init__(self) -> None:
        self._estimator = FlowEstimator()
        self._size: tuple[int, int] | None = None
        self._greys: list[UInt8Array] = []
        self._flows: OrderedDict[int, tuple[Flow, Flow]] = OrderedDict()
        self._position = FramePosition()
        self._masks: dict[int, BoxedMask] = {}
        self._origins: PixelOrigins | None = None

    def append(self, image: UInt8Array) -> int:
        """Take the next frame; see `TrackingSession.append`."""
        self._size = check_image(image, self._size)
        self._greys.append(self._estimator.prepare(image))
        return len(self._greys) - 1

    def track(self, index: int) -> dict[int, BoolArray]:
        """Move every object to a neighbouring frame; see `TrackingSession.track`."""
        previous = self._position.step(index, len(self._greys), bool(self._masks))
        if self._masks and previous != index:
            self._move(previous, index)
        assert self._size is not None
        return {key: mask.paste(self._size) for key, mask in self._masks.items()}

    def add_point(self, index: int, object_id: int, point: Point) -> BoolArray:
        """Refuse: optical flow cannot tell what a point belongs to."""
        return self.add_points(index, object_id, [point], [True])

    def add_points(self, index: int, object_id: int, points: Sequence[Point],
                   inside: Sequence[bool]) -> BoolArray:
        """Refuse: optical flow cannot tell what points belong to."""
        raise ValueError('the flow tracker takes masks, not points: call add_mask')

    def add_mask(self, index: int, object_id: int, mask: BoolArray) -> BoolArray:
        """Take an object as it is drawn; see `TrackingSession.add_mask`."""
        self._position.stay(index, len(self._greys), bool(self._masks))
        assert self._size is not None
        check_mask(mask, self._size)
        if self._origins is None:
            self._origins = PixelOrigins(self._size)
        self._origins.prompted(mask)
        self._masks[object_id] = BoxedMask.cut(mask.astype(np.uint8))
        return mask.copy()

    def forget_objects(self) -> None:
        """Drop all objects; grey images and flow stay."""
        self._position = FramePosition()
        self._masks.clear()
        self._origins = None

    def close(self) -> None:
        """Drop everything."""
        self.forget_objects()
        self._greys.clear()
        self._flows.clear()

    def _move(self, previous: int, index: int) -> None:
        """Carry all masks over."""
        assert self._origins is not None
        there, back = self._pair(min(previous, index))
        to_new, to_old = (there, back) if index > previous else (back, there)
        self._origins.move(to_old, to_new)
        for key, mask in self._masks.items():
            if not mask.area:
                continue
            carried, support = self._origins.carry(mask)
            lost = carried.area < SMALLEST_AREA or support < SMALLEST_SUPPORT * mask.area
            self._masks[key] = BoxedMask.empty() if lost else carried

    def _pair(self, first: int) -> tuple[Flow, Flow]:
        """Return the flow between a frame and the one after it, in both directions."""
        if first in self._flows:
            self._flows.move_to_end(first)
            return self._flows[first]
        flows = self._estimator.between(self._greys[first], self._greys[first + 1])
        self._flows[first] = flows
        if len(self._flows) > KEPT_PAIRS:
            self._flows.popitem(last=False)
        return flows
