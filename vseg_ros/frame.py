"""
What flows through the package: a `Frame` in, a `Segmentation` or a `MaskTrack` out.

The three types are immutable and carry their stamp and frame id with them, so that an output
can always be laid over the image it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vseg_ros.labels import LabelSet

UInt8Array = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
LabelArray = NDArray[np.uint8] | NDArray[np.uint16]


def _frozen(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return a read-only view, leaving the caller's own array as it is."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Frame:
    """
    One camera image.

    Attributes:
        image: uint8 [H, W, 3], RGB, read-only.
        stamp: acquisition time in nanoseconds, int.
        frame_id: name of the camera's coordinate frame.

    Raises:
        ValueError: `image` is not uint8 [H, W, 3] or is empty.

    """

    image: UInt8Array
    stamp: int = 0
    frame_id: str = ''

    def __post_init__(self) -> None:
        """Check the image and make it read-only."""
        image = np.asarray(self.image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(
                f'a frame is uint8 [H, W, 3], not {image.dtype} {list(image.shape)}')
        object.__setattr__(self, 'image', _frozen(image))
        object.__setattr__(self, 'stamp', int(self.stamp))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]


def follows(stamp: int, before: int, max_gap: float) -> bool:
    """
    Tell whether a frame goes on where another left off.

    Args:
        stamp: of the frame, in ns.
        before: stamp of the frame before, in ns.
        max_gap: longest pause between them, in s.

    Returns:
        False after a step back in time or a longer pause.

    """
    return 0 <= stamp - before <= round(max_gap * 1e9)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """
    A class for every pixel of one frame.

    Attributes:
        labels: uint8 [H, W] (uint16 above 255 classes), ids of `label_set`.
        confidence: float32 [H, W] in 0..1, the reliability of DiTTA's Eq. 2.
        label_set: names and colours of the ids.
        stamp: nanoseconds, copied from the frame.
        frame_id: copied from the frame.

    Raises:
        ValueError: the two maps differ in size or have the wrong dtype.

    """

    labels: LabelArray
    confidence: Float32Array
    label_set: LabelSet
    stamp: int = 0
    frame_id: str = ''

    def __post_init__(self) -> None:
        """Check both maps and make them read-only."""
        labels, confidence = np.asarray(self.labels), np.asarray(self.confidence)
        if labels.dtype not in (np.uint8, np.uint16) or labels.ndim != 2:
            raise ValueError(f'labels are uint8 or uint16 [H, W], not {labels.dtype} '
                             f'{list(labels.shape)}')
        if confidence.dtype != np.float32 or confidence.shape != labels.shape:
            raise ValueError(f'confidence is float32 {list(labels.shape)} like the labels, not '
                             f'{confidence.dtype} {list(confidence.shape)}')
        object.__setattr__(self, 'labels', _frozen(labels))
        object.__setattr__(self, 'confidence', _frozen(confidence))


@dataclass(frozen=True, eq=False)
class MaskTrack:
    """
    One referred object over a window of frames.

    Attributes:
        masks: bool [T, H, W].
        stamps: T acquisition times in nanoseconds.
        visible: bool [T], whether the object is in the frame at all.
        score: confidence that the track answers the question, 0..1.
        text: the model's answer in words.

    """

    masks: BoolArray
    stamps: tuple[int, ...]
    visible: BoolArray
    score: float
    text: str = ''

    def __post_init__(self) -> None:
        """Check that masks, stamps and visibility cover the same frames."""
        if self.masks.dtype != np.bool_ or self.masks.ndim != 3:
            raise ValueError(f'masks are bool [T, H, W], not {self.masks.dtype} '
                             f'{list(self.masks.shape)}')
        if not len(self.masks) == len(self.stamps) == len(self.visible):
            raise ValueError(f'{len(self.masks)} masks, {len(self.stamps)} stamps and '
                             f'{len(self.visible)} visibilities do not cover the same frames')
        object.__setattr__(self, 'masks', _frozen(self.masks))
        object.__setattr__(self, 'visible', _frozen(self.visible))
