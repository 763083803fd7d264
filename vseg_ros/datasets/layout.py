"""
What the readers of published data sets share.

A reader lists folders, groups the images into videos by their names, and makes of each video an
`AnnotatedVideo`: an `ImageFolder` whose label images have names of the data set's own. Listing
reads names alone; an image is opened when its frame is asked for. What is missing is named with
the layout that the data set is published in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, UInt8Array
from vseg_ros.io.frame_source import FrameSource, LabelledFrame
from vseg_ros.io.image_folder import ImageFolder
from vseg_ros.labels import DRIVING, LabelSet

NANOSECONDS = 1_000_000_000


class Video(FrameSource, Protocol):
    """A `FrameSource` whose frames can also be read by number."""

    def __len__(self) -> int:
        """Count the frames."""

    def __getitem__(self, index: int) -> LabelledFrame:
        """Read one frame, counted from 0, or from the end if negative."""


class AnnotatedVideo(ImageFolder):
    """
    One video of a data set.

    Args:
        name: short name.
        images: the image files in order.
        label_files: the label image of each, or None for a frame that nobody labelled.
        stamps: times in nanoseconds, one an image.
        table: uint8 [256] that turns the files' ids into those of `label_set`.
        label_set: names of the ids.

    Raises:
        UserError: while reading, a damaged image, or labels of another size than their image.

    """

    def __init__(self, name: str, images: Sequence[Path], label_files: Sequence[Path | None],
                 stamps: Sequence[int], table: UInt8Array,
                 label_set: LabelSet = DRIVING) -> None:
        super().__init__(images, stamps=stamps, table=table, label_set=label_set, name=name)
        self._labels = list(label_files)

    @property
    def labelled_count(self) -> int:
        """How many frames have labels."""
        return sum(path is not None for path in self._labels)


def need_folder(path: Path, layout: str) -> Path:
    """
    Return a folder that must be there.

    Raises:
        UserError: it is not; `layout` tells what is expected.

    """
    if not path.is_dir():
        raise UserError(f'there is no folder {path}: {layout}')
    return path


def subfolders(path: Path) -> list[Path]:
    """List the folders in a folder, by name; none if it is not there."""
    if not path.is_dir():
        return []
    return sorted(item for item in path.iterdir()
                  if item.is_dir() and not item.name.startswith('.'))


def files_by_name(folder: Path, suffix: str = '') -> dict[str, Path]:
    """
    List a folder once, which is far quicker than asking for each of thousands of files.

    Args:
        folder: may be missing, and then holds nothing.
        suffix: end of the names wanted.

    Returns:
        The files by their name without `suffix`.

    """
    if not folder.is_dir():
        return {}
    return {path.name[:len(path.name) - len(suffix)]: path for path in folder.iterdir()
            if path.name.endswith(suffix) and not path.name.startswith('.')}


def consecutive_runs(numbers: Sequence[int], largest_step: int = 1) -> list[list[int]]:
    """
    Cut frame numbers, in rising order, where one is more than `largest_step` after the last.

    Returns:
        The runs, none of them empty.

    """
    runs: list[list[int]] = []
    for number in numbers:
        if not runs or number - runs[-1][-1] > largest_step:
            runs.append([])
        runs[-1].append(number)
    return runs


def need_labels(videos: list[AnnotatedVideo], where: Path, layout: str) -> list[ImageFolder]:
    """
    Return the videos if any of their frames has labels.

    Raises:
        UserError: there is no video, or no label in any.

    """
    if not videos:
        raise UserError(f'there is no image of the data set in {where}: {layout}')
    if not any(video.labelled_count for video in videos):
        raise UserError(f'no image in {where} has labels: {layout}')
    return list(videos)


def png_color_type(path: Path) -> int | None:
    """Return a PNG's code for its pixels: 0 grey, 2 colours, 3 a palette; None if too short."""
    try:
        header = np.fromfile(path, np.uint8, 26)
    except OSError:
        return None  # reading it whole will say what is wrong
    return int(header[25]) if len(header) == 26 else None


def check_label_size(size: Sequence[int], path: Path, image: Path, frame: Frame) -> None:
    """
    Refuse labels of another size than their image.

    Args:
        size: height and width of the labels.
        path: the label image.
        image: the image.
        frame: what was read from it.

    Raises:
        UserError: the sizes differ.

    """
    if tuple(size) != frame.size:
        raise UserError(f'the label image {path} is {size[1]}x{size[0]}, its image {image} is '
                        f'{frame.size[1]}x{frame.size[0]}: labels need the size of their image')


def read_lines(path: Path, what: str) -> list[str]:
    """
    Read the lines of a small text file that are not blank.

    Raises:
        UserError: it cannot be read, or is no text.

    """
    try:
        text = path.read_text('utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'cannot read {what} {path} ({type(error).__name__}): check the file'
                        ) from error
    return [line for line in text.splitlines() if line.strip()]
