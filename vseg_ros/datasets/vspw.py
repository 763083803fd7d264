"""
VSPW, in its own size or at 480p (VSPW_480p): 3,536 videos at 15 frames a second, 124 classes.

    data/VIDEO/origin/FFFFFFFF.jpg
    data/VIDEO/mask/FFFFFFFF.png        id 0 is "others", class C is C + 1; none in the test split
    train.txt  val.txt  test.txt        the videos of a split, a name a line

Opening a split reads its list and the names of the folders in `data`. A video's own frames are
listed when they are asked for and not kept, so that a split of thousands costs next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from vseg_ros.class_names import VSPW
from vseg_ros.datasets.layout import (
    NANOSECONDS,
    AnnotatedVideo,
    check_label_size,
    files_by_name,
    need_folder,
    png_color_type,
    read_lines,
)
from vseg_ros.datasets.referring import read_object_ids
from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, LabelArray
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.labels import label_table

_LAYOUT = ('vspw has data/VIDEO/origin/*.jpg, data/VIDEO/mask/*.png and train.txt, val.txt, '
           'test.txt')
_SPLITS = ('train', 'val', 'test')
_RATE = 15
PALETTE = 3
"""A PNG's code for pixels that are numbers of a palette."""
_TABLE = label_table({number + 1: number for number in range(len(VSPW))})


class _Masks(AnnotatedVideo):
    """A video whose label images may be grey or have a palette."""

    def _read_labels(self, path: Path, image: Path, frame: Frame) -> LabelArray:
        if png_color_type(path) != PALETTE:
            return super()._read_labels(path, image, frame)
        ids = read_object_ids(path)
        check_label_size(ids.shape, path, image, frame)
        labels: LabelArray = _TABLE[ids]
        return labels


class VspwVideo:
    """
    One video of VSPW; see `datasets.layout.Video`.

    Args:
        path: its folder, with `origin` and `mask`.

    Raises:
        UserError: while reading, `origin` or `mask` is missing or empty, a name is no frame
            number, or an image is damaged.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.label_set = VSPW
        self._count: int | None = None

    @property
    def frame_count(self) -> int:
        """How many frames it has."""
        if self._count is None:
            self._count = len(self._frames())
        return self._count

    def __len__(self) -> int:
        """Count the frames."""
        return self.frame_count

    def __getitem__(self, index: int) -> LabelledFrame:
        """Read one frame, counted from 0, or from the end if negative."""
        return self._open()[index]

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read the first frame, then the others."""
        return iter(self._open())

    def _frames(self) -> dict[str, Path]:
        frames = files_by_name(need_folder(self.path / 'origin', _LAYOUT), '.jpg')
        if not frames:
            raise UserError(f'there is no image of the data set in {self.path / "origin"}: '
                            f'{_LAYOUT}')
        return frames

    def _open(self) -> _Masks:
        images = self._frames()
        masks = files_by_name(need_folder(self.path / 'mask', _LAYOUT), '.png')
        if not images.keys() & masks.keys():
            raise UserError(f'no image in {self.path / "origin"} has a mask: {_LAYOUT}')
        wrong = next((name for name in images if not name.isdecimal()), None)
        if wrong is not None:
            raise UserError(f'{images[wrong]} is not named by a frame number, as vspw has it: '
                            'rename or remove it')
        names = sorted(images, key=int)
        stamps = [round((int(name) - int(names[0])) * Fraction(NANOSECONDS, _RATE))
                  for name in names]
        return _Masks(self.name, [images[name] for name in names],
                      [masks.get(name) for name in names], stamps, _TABLE, VSPW)


def vspw_sources(folder: str | Path, split: str | None = None) -> list[VspwVideo]:
    """
    Open VSPW.

    Args:
        folder: holds `data` and the lists of the splits.
        split: train, val or test; None takes every video in `data`.

    Returns:
        One video a folder, in the order of the list, else by name, with labels as VSPW's classes.

    Raises:
        UserError: not this layout, no such list, or a listed video is not there.

    """
    root = need_folder(Path(folder), _LAYOUT)
    data = need_folder(root / 'data', _LAYOUT)
    there = _folder_names(data)
    names = sorted(there) if split is None else _names_of_split(root, split)
    if not names:
        raise UserError(f'there is no video in {data}: {_LAYOUT}')
    missing = [name for name in names if name not in there]
    if missing:
        raise UserError(f'there is no folder {data / missing[0]}, a video of {split}.txt '
                        f'({len(missing)} of its {len(names)} are not there): download the data '
                        'set whole')
    videos = [VspwVideo(data / name) for name in names]
    if not (videos[0].path / 'mask').is_dir():
        raise UserError(f'there is no folder {videos[0].path / "mask"}: {_LAYOUT}; the masks of '
                        'test are not public')
    return videos


def _folder_names(folder: Path) -> set[str]:
    """List folders without a look at what each is made of, which thousands would feel."""
    with os.scandir(folder) as items:
        return {item.name for item in items if item.is_dir() and not item.name.startswith('.')}


def _names_of_split(root: Path, split: str) -> list[str]:
    path = root / f'{split}.txt'
    if not path.is_file():
        raise UserError(f'there is no list {path}: vspw has the splits {", ".join(_SPLITS)}')
    return [line.strip() for line in read_lines(path, 'the list of videos')]
