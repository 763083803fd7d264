"""
A sentence about a video, the object it names, and how such data sets are read.

A `ReferringClip` is one sentence about one video. It holds names alone; images and masks are read
when they are asked for. Clips of one video follow one another, so that what was computed of its
frames serves all its sentences.

The video data sets share `meta_expressions.json`: for each video its frames and its expressions,
by an id that the evaluation servers use as a folder's name. Masks come as images of object ids
(`object_masks`) or as COCO run lengths (`run_length_masks`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import av
import numpy as np

from vseg_ros.datasets.coco_rle import decode_rle
from vseg_ros.datasets.layout import NANOSECONDS, need_folder
from vseg_ros.errors import UserError
from vseg_ros.frame import BoolArray, Frame, UInt8Array
from vseg_ros.io.image_folder import read_image

MaskReader = Callable[[int], BoolArray]
"""Reads the mask, bool [H, W], of the frame of a number."""

NO_MATCH = 'no_match'
"""Group of the sentences that name nothing in their video."""


@dataclass(frozen=True, eq=False)
class ReferringClip:
    """
    One sentence about one video.

    Attributes:
        name: the video's.
        expression: the sentence.
        expression_id: its id within the video, unique there.
        frame_files: the images in order of time; their stems are the frames' names.
        fps: frames a second that stamps are made from.
        read_mask: reads the mask of a frame by number; None where the masks are not published.
        read_foreground: the same for all annotated objects of the video together, or None.
        read_ignored: the same for the pixels that must not be scored, or None.
        group: what scores are also given by, such as who wrote the sentence or its kind; ''
            where the data set makes no difference.

    """

    name: str
    expression: str
    expression_id: str
    frame_files: tuple[Path, ...]
    fps: float
    read_mask: MaskReader | None = None
    read_foreground: MaskReader | None = None
    read_ignored: MaskReader | None = None
    group: str = ''

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.frame_files)

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Names of the frames, without a suffix."""
        return tuple(path.stem for path in self.frame_files)

    @property
    def has_masks(self) -> bool:
        """Whether the masks are there."""
        return self.read_mask is not None

    def frame(self, number: int) -> Frame:
        """
        Read one frame, counted from 0, with its stamp.

        Raises:
            UserError: the image is missing or damaged.

        """
        stamp = round(number * NANOSECONDS / Fraction(self.fps))
        return Frame(read_image(self.frame_files[number]), stamp, 'camera')

    def frames(self, numbers: Iterable[int] | None = None) -> list[Frame]:
        """
        Read frames by number; all of them by default.

        Raises:
            UserError: an image is missing or damaged.

        """
        return [self.frame(number) for number in self._numbers(numbers)]

    def masks(self, numbers: Iterable[int] | None = None) -> BoolArray | None:
        """
        Read the masks of frames by number; of all of them by default.

        Returns:
            bool [T, H, W], or None where the masks are not published.

        Raises:
            UserError: a mask is missing, damaged, or not of the size of the others.

        """
        return self._stack(self.read_mask, numbers)

    def foreground(self, numbers: Iterable[int] | None = None) -> BoolArray | None:
        """Read all annotated objects together, as `masks`; None where they are not published."""
        return self._stack(self.read_foreground, numbers)

    def ignored(self, numbers: Iterable[int] | None = None) -> BoolArray | None:
        """Read the pixels that must not be scored, as `masks`; None if every pixel counts."""
        return self._stack(self.read_ignored, numbers)

    def _numbers(self, numbers: Iterable[int] | None) -> Iterable[int]:
        return range(len(self)) if numbers is None else numbers

    def _stack(self, read: MaskReader | None, numbers: Iterable[int] | None) -> BoolArray | None:
        if read is None:
            return None
        masks = [read(number) for number in self._numbers(numbers)]
        if len({mask.shape for mask in masks}) > 1:
            raise UserError(f'the masks of {self.name}, expression {self.expression_id}, have '
                            'several sizes: download them again')
        return np.stack(masks)


def by_video(clips: Iterable[ReferringClip]) -> Iterator[list[ReferringClip]]:
    """Yield the clips of each video together, in their order."""
    for _, group in groupby(clips, key=lambda clip: (clip.name, clip.frame_files)):
        yield list(group)


@dataclass(frozen=True)
class Expressions:
    """
    What `meta_expressions.json` says about one video.

    Attributes:
        video: its name.
        frames: names of its frames, in order of time.
        expressions: id -> what is told about the expression; `exp` is the sentence.

    """

    video: str
    frames: tuple[str, ...]
    expressions: Mapping[str, Mapping[str, Any]]


def read_json(path: Path, layout: str) -> Any:
    """
    Read a JSON file of a data set.

    Raises:
        UserError: it is missing (`layout` tells what is expected) or damaged.

    """
    if not path.is_file():
        raise UserError(f'there is no file {path}: {layout}')
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f'cannot read {path} ({type(error).__name__}): download it again'
                        ) from error


def read_expressions(path: Path, layout: str) -> list[Expressions]:
    """
    Read `meta_expressions.json`.

    Returns:
        The videos in the file's order.

    Raises:
        UserError: it is missing, damaged, or holds no videos with frames and expressions.

    """
    videos = []
    try:
        for video, told in read_json(path, layout)['videos'].items():
            frames = tuple(_safe(name) for name in told['frames'])
            expressions = {_safe(key): value for key, value in told['expressions'].items()}
            if not frames or not all(isinstance(e['exp'], str) for e in expressions.values()):
                raise ValueError(video)
            videos.append(Expressions(_safe(video, deep=True), frames, expressions))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f'{path} does not tell frames and expressions of videos '
                        f'({type(error).__name__} {error}): download it again') from error
    if not videos:
        raise UserError(f'{path} names no video: download it again')
    return videos


def frame_files(images: Path, video: Expressions, layout: str) -> tuple[Path, ...]:
    """
    Return the image files of a video's frames, which are only looked at when they are read.

    Raises:
        UserError: the video has no folder.

    """
    folder = need_folder(images / video.video, layout)
    return tuple(folder / f'{name}.jpg' for name in video.frames)


def read_object_ids(path: Path) -> UInt8Array:
    """
    Read an image whose pixels are numbers of objects, with a palette or in grey.

    Returns:
        uint8 [H, W].

    Raises:
        UserError: it is missing, damaged, or in colour.

    """
    # OpenCV turns a palette into colours and forgets the numbers; FFmpeg keeps them.
    try:
        with av.open(str(path)) as file:
            image = next(file.decode(video=0))
    except (av.FFmpegError, OSError, StopIteration, ValueError) as error:
        raise UserError(f'cannot read the mask {path} ({type(error).__name__}): check that the '
                        'annotations were downloaded whole') from error
    if image.format.name not in ('pal8', 'gray'):
        raise UserError(f'the mask {path} is no map of object ids: save one id a pixel as a PNG '
                        'with a palette, or in grey')
    pixels = image.to_ndarray()
    return np.asarray(pixels[0] if isinstance(pixels, tuple) else pixels, np.uint8)


def object_masks(files: Sequence[Path], number: int) -> MaskReader:
    """Return a reader of one object's masks from images of object ids, one a frame."""
    def read(frame: int) -> BoolArray:
        mask: BoolArray = read_object_ids(files[frame]) == number
        return mask
    return read


def run_length_masks(tracks: Sequence[Sequence[Mapping[str, Any] | None]],
                     frames: Sequence[Path], what: str) -> MaskReader:
    """
    Return a reader of the union of several objects' masks.

    Args:
        tracks: of each object a COCO mask a frame, None where it is not to be seen.
        frames: the images, which tell the size where no object is to be seen.
        what: named in the line about a damaged mask.

    """
    size = next((tuple(mask['size']) for track in tracks for mask in track if mask), None)

    def read(frame: int) -> BoolArray:
        union = np.zeros(size or read_image(frames[frame]).shape[:2], np.bool_)
        for track in tracks:
            if rle := track[frame]:
                try:
                    union |= decode_rle(rle)
                except ValueError as error:
                    raise UserError(f'{what} is damaged in frame {frame} ({error}): download the '
                                    'file of masks again') from error
        return union
    return read


def tracks_by_id(masks: Mapping[str, Any], ids: Sequence[Any], frames: int, path: Path
                 ) -> list[list[Mapping[str, Any] | None]]:
    """
    Look up the tracks of objects in a `mask_dict.json`.

    Raises:
        UserError: an id is not in it, or its track has another number of frames.

    """
    tracks: list[list[Mapping[str, Any] | None]] = []
    for key in ids:
        track = masks.get(str(key))
        if not isinstance(track, list) or len(track) != frames:
            raise UserError(f'{path} has no track of {frames} frames for the annotation {key}: '
                            'download it together with meta_expressions.json')
        tracks.append(track)
    return tracks


def _safe(name: object, deep: bool = False) -> str:
    """Return a name that may become part of a path; `deep` ones may have folders."""
    if not isinstance(name, str):
        raise TypeError(f'{name!r} is no name')
    parts = PurePosixPath(name).parts
    if not parts or '\\' in name or {'..', '/'} & set(parts) or (len(parts) > 1 and not deep):
        raise ValueError(f'{name!r} is no name')
    return name
