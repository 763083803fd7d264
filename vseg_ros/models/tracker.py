"""
The one interface of all mask trackers, and the factory that makes them.

A tracker follows objects, each given by a point or a mask on one frame, through a video. It is
the source of DiTTA's pseudo labels during the warm-up (Sec. 3.2) and of nothing afterwards.
`open()` starts a session; frames are appended once and can then be walked forward and backward:

    session = create_tracker('flow').open()
    for image in images:
        index = session.append(image)
        masks = session.track(index)                # the known objects, moved to this frame
        masks[7] = session.add_mask(index, 7, mask)  # a new one joins
    session.forget_objects()                        # what was computed of the images stays
    for index in reversed(range(len(images))):
        masks = session.track(index)
        ...                                         # the same prompts, now towards the past

Two trackers exist: `flow` needs no weights and takes masks, the SAM 2 family takes points too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vseg_ros.frame import BoolArray, UInt8Array
from vseg_ros.settings import Precision

Point = tuple[float, float]


class TrackingSession(Protocol):
    """
    The objects of one video.

    The session stands on one frame at a time: the one given last to `track`, or that of the
    first prompt. Objects are prompted on that frame and moved to a frame next to it.
    """

    def append(self, image: UInt8Array) -> int:
        """
        Take the next frame of the video; objects do not move.

        What is computed of an image is kept for both directions, see the trackers for how long.

        Args:
            image: uint8 [H, W, 3], RGB, the size of the frames before. It is not copied.

        Returns:
            Index of the frame, counted from 0.

        Raises:
            ValueError: the image is not uint8 [H, W, 3], or not the size of the others.

        """
        ...

    def track(self, index: int) -> dict[int, BoolArray]:
        """
        Move every known object to a frame.

        Args:
            index: frame next to the one worked on last, before or after it; any frame while no
                object is known; the same frame to read the masks again.

        Returns:
            Object id -> bool [H, W]; all False for an object that has left or is hidden.

        Raises:
            IndexError: the frame has not been appended.
            ValueError: the frame is not next to the one worked on last.

        """
        ...

    def add_point(self, index: int, object_id: int, point: Point) -> BoolArray:
        """
        Prompt an object by one point inside it.

        Args:
            index: frame worked on last; any frame while no object is known.
            object_id: any int; a known id is replaced.
            point: (x, y) in pixels: column and row, fractions allowed; a pixel's centre has
                whole numbers.

        Returns:
            bool [H, W], the object on this frame.

        Raises:
            IndexError: the frame has not been appended.
            ValueError: another frame than the one worked on last, a point outside the image, or
                a tracker that wants masks.

        """
        ...

    def add_points(self, index: int, object_id: int, points: Sequence[Point],
                   inside: Sequence[bool]) -> BoolArray:
        """
        Prompt an object by several points, some of which may lie outside of it.

        Args:
            index: as in `add_point`.
            object_id: as in `add_point`.
            points: (x, y) in pixels each.
            inside: one flag a point, whether the point lies on the object.

        Returns:
            bool [H, W], the object on this frame.

        Raises:
            IndexError: as in `add_point`.
            ValueError: as in `add_point`; no point at all, or not one flag a point.

        """
        ...

    def add_mask(self, index: int, object_id: int, mask: BoolArray) -> BoolArray:
        """
        Prompt an object by its mask.

        Args:
            index: as in `add_point`.
            object_id: as in `add_point`.
            mask: bool [H, W]; objects may overlap.

        Returns:
            bool [H, W], the object on this frame as the tracker sees it.

        Raises:
            IndexError: as in `add_point`.
            ValueError: another frame than the one worked on last, or a mask that is not bool
                [H, W] like the frame.

        """
        ...

    def forget_objects(self) -> None:
        """Drop all objects and their memories; images and what was computed of them stay."""
        ...

    def close(self) -> None:
        """Drop everything; the session is over."""
        ...


class MaskTracker(Protocol):
    """
    A way to follow objects through a video.

    Attributes:
        name: as given to `create_tracker`.
        wants_masks: True if objects must be prompted by masks, False if a point will do.

    """

    name: str
    wants_masks: bool

    def open(self) -> TrackingSession:
        """Start on a new video."""
        ...

    def release(self) -> None:
        """Drop the weights; `open` loads them again."""
        ...


class FramePosition:
    """The frame a session stands on, and the rules of moving from it."""

    def __init__(self) -> None:
        self._index: int | None = None

    def step(self, index: int, frames: int, has_objects: bool) -> int:
        """
        Go to a frame.

        Args:
            index: the frame to go to.
            frames: how many have been appended.
            has_objects: whether objects must come along.

        Returns:
            The frame left, or `index` if there was none.

        Raises:
            IndexError: the frame has not been appended.
            ValueError: objects must come along and the frame is no neighbour.

        """
        if not 0 <= index < frames:
            raise IndexError(f'frame {index} is not one of the {frames} appended so far')
        previous = index if self._index is None else self._index
        if has_objects and abs(index - previous) > 1:
            raise ValueError(f'objects on frame {previous} can move to a frame next to it, '
                             f'not to frame {index}')
        self._index = index
        return previous

    def stay(self, index: int, frames: int, has_objects: bool) -> None:
        """Check that objects on another frame do not hinder a prompt; arguments as in `step`."""
        if has_objects and index != self._index:
            raise ValueError(f'objects are on frame {self._index}: track them to frame {index} '
                             'before prompting there')
        self.step(index, frames, has_objects)


def check_image(image: UInt8Array, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width of uint8 [H, W, 3], which must be `size` if that is given."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f'an image is uint8 [H, W, 3], not {image.dtype} {list(image.shape)}')
    height, width = image.shape[:2]
    if size is not None and size != (height, width):
        raise ValueError(f'the video has frames of {size[1]}x{size[0]} pixels, this one has '
                         f'{width}x{height}')
    return height, width


def check_mask(mask: BoolArray, size: tuple[int, int]) -> None:
    """Raise ValueError if a mask is not bool [H, W] of the frame's height and width."""
    if mask.dtype != np.bool_ or mask.shape != size:
        raise ValueError(f'a mask is bool {list(size)} like the frame, not {mask.dtype} '
                         f'{list(mask.shape)}')


def create_tracker(name: str, device: str = 'cpu',
                   precision: Precision = 'float32') -> MaskTracker:
    """
    Make a tracker.

    Args:
        name: `flow`; a short name such as `sam2.1-hiera-tiny` or `edgetam`; a hub id; or a
            folder with a SAM 2 or EdgeTAM video checkpoint in the transformers format.
        device: where SAM 2 runs, `auto`, `cpu`, `cuda` or `cuda:N`; optical flow uses the CPU.
        precision: of SAM 2's weights; `auto` is float32 on a CPU and bfloat16 on a GPU.

    Raises:
        UserError: the weights cannot be found or read, or the device is not there.

    """
    if name == 'flow':
        from vseg_ros.models.flow_tracker import FlowTracker
        return FlowTracker()
    from vseg_ros.models.sam2_tracker import Sam2Tracker
    return Sam2Tracker(name, device, precision)
