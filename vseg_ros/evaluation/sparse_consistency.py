"""
Video consistency over sparse ground truth (Time2General, Eq. 13), streaming.

Where only some frames are labelled, each of them is the reference frame r of one window a
length, frames r to r + n - 1. The truth is known at r alone, so a pixel counts as long as the
camera sees no change there: S_{r,i} are the pixels whose grey value at frame i is that of frame
r. Of the labelled pixels of r that are static in the whole window, mVC_n takes the share whose
predicted id is that of frame r in the whole window, right or wrong; the score is the mean over
all windows.

What Eq. 13 leaves open is settled so: grey images are blurred a little, so that camera noise is
not taken for motion, and differ by at most `STATIC_GREY_LEVELS`; pixels of the reference frame
that nobody labelled do not count, since of them no truth is known; a window that reaches past the
end of the video and one without a pixel to count are left out.

Every reference frame whose longest window is still open keeps its grey image and one mask, the
labelled pixels static so far, that serves every n. So a frame costs one comparison an open
reference frame: one for the usual single labelled frame, and never more than the longest n, which
bounds memory too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vseg_ros.evaluation.windows import (
    IdArray,
    RunLength,
    WindowMean,
    check_sizes,
    steady_share,
)
from vseg_ros.frame import BoolArray, UInt8Array

STATIC_GREY_LEVELS = 6
"""Largest change of the blurred grey value, in 0..255, of a static pixel."""

BLUR_SIZE = 5
"""Side of the Gaussian that blurs the grey image, in pixels."""


def smooth_grey(image: UInt8Array) -> UInt8Array:
    """Turn uint8 [H, W, 3] RGB into the uint8 [H, W] that static pixels are found in."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.GaussianBlur(grey, (BLUR_SIZE, BLUR_SIZE), 0), np.uint8)


def static_pixels(reference: UInt8Array, current: UInt8Array) -> BoolArray:
    """
    Return S_{r,i} of Eq. 13.

    Args:
        reference: uint8 [H, W], the reference frame by `smooth_grey`.
        current: uint8 [H, W], another frame by `smooth_grey`.

    Returns:
        bool [H, W], where the two differ by at most `STATIC_GREY_LEVELS`.

    """
    return np.asarray(cv2.absdiff(reference, current) <= STATIC_GREY_LEVELS, np.bool_)


@dataclass(eq=False)
class _Reference:
    """A labelled frame with open windows: its number, its grey image, its static pixels so far."""

    index: int
    grey: UInt8Array
    static: BoolArray


class SparseConsistency:
    """
    mVC_n of Eq. 13 over the frames of any number of videos.

    Args:
        classes: number of classes; a label that is not below it is unlabelled.
        windows: window lengths n in frames, each 2..256.

    """

    def __init__(self, classes: int, windows: Sequence[int] = (8, 16)) -> None:
        self._classes = classes
        self._windows = tuple(windows)
        self.mean = WindowMean(self._windows)
        self.end_video()

    def end_video(self) -> None:
        """Let no window reach from the frames so far into those to come."""
        self._predicted: RunLength | None = None
        self._references: deque[_Reference] = deque()
        self._frames = 0

    def add(self, image: UInt8Array, predictions: IdArray, labels: IdArray | None) -> None:
        """
        Count the next frame of the video.

        Args:
            image: uint8 [H, W, 3], RGB.
            predictions: unsigned integer [H, W], predicted ids. A change of size starts a new
                video.
            labels: unsigned integer [H, W], true ids, or None for a frame without.

        Raises:
            ValueError: the maps differ in size.

        """
        check_sizes(predictions, predictions if labels is None else labels)
        if self._predicted is not None and self._predicted.repeats.shape != predictions.shape:
            self.end_video()
        if labels is not None or self._references:
            self._count(image, predictions, labels)
        self._frames += 1

    def score(self, window: int) -> float:
        """Return mVC_n of all videos so far, 0..1, or NaN if no window fitted."""
        return self.mean.score(window)

    def _count(self, image: UInt8Array, predictions: IdArray, labels: IdArray | None) -> None:
        """Count a frame that is a reference or lies in the window of one."""
        if self._predicted is None:
            self._predicted = RunLength(predictions, max(self._windows) - 1)
        else:
            self._predicted.add(predictions)
        grey = smooth_grey(image)
        for reference in self._references:
            reference.static &= static_pixels(reference.grey, grey)
        if labels is not None:
            self._references.append(
                _Reference(self._frames, grey, np.less(labels, self._classes)))
        self._close_windows(self._predicted.repeats)

    def _close_windows(self, repeats: UInt8Array) -> None:
        """Count the windows that end at this frame; forget references that have none left."""
        for reference in self._references:
            length = self._frames - reference.index + 1
            if length in self._windows:
                self.mean.add(length, steady_share(reference.static, repeats >= length - 1))
        while self._references and (
                self._frames - self._references[0].index + 1 >= max(self._windows)):
            self._references.popleft()
