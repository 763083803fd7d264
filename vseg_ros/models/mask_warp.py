"""
Moving masks from one frame to its neighbour by backward sampling.

Every pixel of the new frame asks the pixel it came from whether it belonged to the object.
Sampling whole pixels keeps masks sharp, but would lose a motion of less than half a pixel
a frame for good; so `PixelOrigins` carries what was rounded away into the next step, as error
diffusion does. A pixel whose flow fails the consistency check has no origin to trust: it keeps
what was sampled while its consistent neighbourhood does not speak against it. A pixel that came
from outside the image, or whose origin consistently went elsewhere, was not seen before and
follows the majority of that neighbourhood. Masks live in boxes
(`BoxedMask`), so that the cost of an object is that of its size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vseg_ros.frame import BoolArray, Float32Array, UInt8Array
from vseg_ros.models.optical_flow import Flow, pixel_grid

# Share of the consistent neighbours that must belong to the object.
DOUBTFUL_SHARE = 0.2
NEW_SHARE = 0.7
# A neighbourhood spans this part of the frame's longer side.
NEIGHBOURHOOD = 1 / 16
# Holes and specks below this part of the frame are noise of the warp.
SPECK_AREA = 1e-4


@dataclass(frozen=True, eq=False)
class BoxedMask:
    """
    A mask cut out of its frame.

    Attributes:
        x: left edge of the box in pixels.
        y: upper edge of the box in pixels.
        pixels: uint8 [h, w], 0 or 1; [0, 0] for an empty mask.

    """

    x: int
    y: int
    pixels: UInt8Array

    @classmethod
    def cut(cls, pixels: UInt8Array, x: int = 0, y: int = 0) -> BoxedMask:
        """Cut uint8 [h, w] (0 or 1), whose corner lies at (x, y), to its bounding box."""
        left, top, width, height = cv2.boundingRect(pixels)
        inner = pixels[top:top + height, left:left + width]
        return cls(x + left, y + top, np.ascontiguousarray(inner))

    @classmethod
    def empty(cls) -> BoxedMask:
        """Return a mask without pixels."""
        return cls(0, 0, np.zeros((0, 0), np.uint8))

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(cv2.countNonZero(self.pixels)) if self.pixels.size else 0

    def paste(self, size: tuple[int, int]) -> BoolArray:
        """Return bool [H, W] for a frame of that height and width."""
        full = np.zeros(size, np.bool_)
        height, width = self.pixels.shape
        full[self.y:self.y + height, self.x:self.x + width] = self.pixels
        return full


class PixelOrigins:
    """
    Where the pixels of the current frame came from; one for all objects of a video.

    Args:
        size: height and width of the frames.

    """

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        self._size = size
        self._grid = pixel_grid(height, width)
        self._remainder = np.zeros((height, width, 2), np.float32)
        self._window = 2 * round(NEIGHBOURHOOD * max(size) / 2) + 1
        self._speck = max(1, round(SPECK_AREA * height * width))

    def move(self, to_old: Flow, to_new: Flow) -> None:
        """
        Go one frame on.

        Args:
            to_old: flow from the new frame to the one the masks are on.
            to_new: flow the other way.

        """
        height, width = self._size
        displacement, consistent = to_old.at_size(self._size)
        motion, consistent_before = to_new.at_size(self._size)
        self._motion = np.ascontiguousarray(motion.transpose(2, 0, 1))
        position = self._grid + displacement
        position += cv2.remap(self._remainder, position[..., 0], position[..., 1],
                              cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        origin = np.rint(position)
        self._remainder = position - origin
        self._x, self._y = origin[..., 0], origin[..., 1]
        outside = (self._x < 0) | (self._y < 0) | (self._x >= width) | (self._y >= height)
        # An origin that is known to have gone elsewhere uncovered what is here now.
        gone = cv2.remap(consistent_before.view(np.uint8), self._x, self._y, cv2.INTER_NEAREST,
                         borderMode=cv2.BORDER_CONSTANT) > 0
        self._trusted = consistent & ~outside
        self._new = outside | (~consistent & gone)
        self._doubtful = ~self._trusted & ~self._new
        self._neighbours = self._count(self._trusted)

    def prompted(self, mask: BoolArray) -> None:
        """Note that a mask, bool [H, W], was drawn on the current frame: nothing is rounded."""
        self._remainder[mask] = 0

    def carry(self, mask: BoxedMask) -> tuple[BoxedMask, int]:
        """
        Move one mask to the frame that `move` went to.

        Args:
            mask: a mask on the frame before.

        Returns:
            The mask on the new frame, and how many of its pixels the consistent flow supports.

        """
        x0, y0, x1, y1 = self._reach(mask)
        here = np.s_[y0:y1, x0:x1]
        if x1 <= x0 or y1 <= y0:
            return BoxedMask.empty(), 0
        sampled = cv2.remap(mask.pixels, self._x[here] - mask.x, self._y[here] - mask.y,
                            cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT).view(np.bool_)
        supported = sampled & self._trusted[here]
        neighbours, own = self._neighbours[here], self._count(supported)
        doubtful = sampled & self._doubtful[here] & (own >= DOUBTFUL_SHARE * neighbours)
        new = self._new[here] & (own > NEW_SHARE * neighbours)
        pixels = without_specks((supported | doubtful | new).view(np.uint8), self._speck)
        return BoxedMask.cut(pixels, x0, y0), int(np.count_nonzero(supported))

    def _reach(self, mask: BoxedMask) -> tuple[int, int, int, int]:
        """Return the box (left, top, right, bottom) that a mask can get to."""
        height, width = mask.pixels.shape
        box = np.s_[mask.y:mask.y + height, mask.x:mask.x + width]
        left, right, _, _ = cv2.minMaxLoc(self._motion[0][box], mask.pixels)
        up, down, _, _ = cv2.minMaxLoc(self._motion[1][box], mask.pixels)
        margin = self._window // 2 + 2
        return (max(0, int(mask.x + left) - margin), max(0, int(mask.y + up) - margin),
                min(self._size[1], int(mask.x + width + right) + margin),
                min(self._size[0], int(mask.y + height + down) + margin))

    def _count(self, pixels: BoolArray) -> Float32Array:
        """Count the True pixels in the window around every pixel."""
        counts = cv2.boxFilter(
            pixels.view(np.uint8), cv2.CV_32F, (self._window, self._window), normalize=False,
            borderType=cv2.BORDER_CONSTANT)
        return np.asarray(counts, np.float32)


def without_specks(pixels: UInt8Array, area: int) -> UInt8Array:
    """
    Fill the small holes of a mask and drop its small specks; its largest part always stays.

    Args:
        pixels: uint8 [h, w], 0 or 1.
        area: holes and specks of fewer pixels than this count as small.

    Returns:
        uint8 [h, w], 0 or 1.

    """
    holes = _small_parts(np.pad(1 - pixels, 1, constant_values=1), area)[1:-1, 1:-1]
    filled = pixels | holes
    return filled & (1 - _small_parts(filled, area))


def _small_parts(pixels: UInt8Array, area: int) -> UInt8Array:
    """Return the connected parts of fewer than `area` pixels, without the largest part."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    small = (areas < area).astype(np.uint8)
    small[0] = 0
    if count > 1:
        small[1 + areas[1:].argmax()] = 0
    found: UInt8Array = small[labels]
    return found
