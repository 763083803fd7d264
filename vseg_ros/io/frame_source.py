"""Where frames come from: `FrameSource`, and the `LabelledFrame`s it yields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vseg_ros.frame import Frame, LabelArray
from vseg_ros.labels import LabelSet


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """
    A frame and what is known about it.

    Attributes:
        frame: the camera image.
        labels: uint8 or uint16 [H, W] of the image's size, the true class of each pixel in ids of
            the source's label set; None for a frame that nobody labelled.

    """

    frame: Frame
    labels: LabelArray | None = None


class FrameSource(Protocol):
    """
    A finite video, read in order. Iterating again starts anew.

    Frames are streamed: memory holds a few at a time. Damage met on the way raises `UserError`.
    """

    @property
    def name(self) -> str:
        """Short name for messages and reports."""

    @property
    def path(self) -> Path | None:
        """The file or folder it reads, which no output may replace; None if there is none."""

    @property
    def label_set(self) -> LabelSet | None:
        """Names of the labels' ids; None without labels, or if the source does not tell."""

    @property
    def frame_count(self) -> int | None:
        """How many frames the file declares, where that is known without reading them all."""

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read from the first frame."""
