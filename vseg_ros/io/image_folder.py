"""
Folders of images as videos.

Images are read in natural order (`2.png` before `10.png`). A label image has the stem of its
image and the suffix .png, and holds one id a pixel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, LabelArray, UInt8Array
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.io.image_header import MAX_PIXELS, claimed_size
from vseg_ros.io.image_message import file_kind
from vseg_ros.labels import CAMVID11_TO_DRIVING, DRIVING, LabelSet, label_table

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
_DEFAULT_FPS = 30
_NANOSECONDS = 1_000_000_000
_FRAME_ID = 'camera'


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that reads runs of digits as numbers."""
    return [(0, int(part), '') if part.isdecimal() else (1, 0, part)
            for part in re.split(r'(\d+)', path.name) if part]


def list_images(folder: Path) -> list[Path]:
    """
    List a folder's images in natural order.

    Raises:
        UserError: no such folder, or no image in it.

    """
    if not folder.is_dir():
        raise UserError(f'there is no folder {folder}: check the path')
    images = sorted((path for path in folder.iterdir()
                     if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.')),
                    key=natural_key)
    if not images:
        raise UserError(f'the folder {folder} holds no image: give a folder of '
                        f'{", ".join(IMAGE_SUFFIXES)} files')
    return images


def _read(path: Path, flags: int) -> NDArray[Any] | None:
    """Decode a file, or return None; `cv2.imread` would also print a warning."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f'cannot read {path} ({error.strerror}): check the file') from error
    height, width = claimed_size(data.tobytes()) or (0, 0)
    if height * width > MAX_PIXELS:
        raise UserError(f'{path} claims to be {width}x{height}, more than {MAX_PIXELS >> 20} '
                        'million pixels: it is damaged or no camera image; replace it')
    _, whole = file_kind(data)
    try:
        decoded = cv2.imdecode(data, flags) if data.size and whole else None
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded)


def read_image(path: Path) -> UInt8Array:
    """
    Read an image.

    Returns:
        uint8 [H, W, 3], RGB; grey is repeated.

    Raises:
        UserError: it is missing or damaged.

    """
    bgr = _read(path, cv2.IMREAD_COLOR)
    if bgr is None:
        raise UserError(f'the image {path} is damaged or no image: replace or remove it')
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def read_labels(path: Path) -> LabelArray:
    """
    Read a label image.

    Returns:
        uint8 or uint16 [H, W], the ids as they are in the file.

    Raises:
        UserError: it is missing, damaged, or in colour.

    """
    labels = _read(path, cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise UserError(f'the label image {path} is damaged or no image: replace or remove it')
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16):
        raise UserError(f'the label image {path} is no map of ids: save one id a pixel as a '
                        'single-channel PNG')
    return labels


class ImageFolder:
    """
    Images as a `FrameSource` whose frames can also be read by number: `folder[i]`.

    Args:
        images: the image files in order, or the folder that holds them.
        labels: folder of label images; frames without one have no labels.
        stamps: times in nanoseconds, one an image; by default `fps` gives them.
        fps: frames a second, 30 by default.
        table: uint8 [256] that turns the files' ids into those of `label_set`.
        label_set: names of the ids.
        name: short name; by default the folder's.

    Raises:
        UserError: no image, no label image for any of them, or (while iterating) a damaged
            image, or labels of another size than their image.

    """

    def __init__(self, images: str | Path | Sequence[Path], labels: str | Path | None = None, *,
                 stamps: Sequence[int] | None = None, fps: float | None = None,
                 table: UInt8Array | None = None, label_set: LabelSet | None = None,
                 name: str | None = None) -> None:
        self._images = (list_images(Path(images)) if isinstance(images, (str, Path))
                        else list(images))
        self.path = self._images[0].parent
        self.name = name or self.path.name
        self.label_set = label_set
        self.frame_count = len(self._images)
        self._labels = self._find_labels(None if labels is None else Path(labels))
        rate = Fraction(fps or _DEFAULT_FPS)
        self._stamps = stamps or [round(i * _NANOSECONDS / rate) for i in range(len(self._images))]
        self._table = table

    def _find_labels(self, folder: Path | None) -> list[Path | None]:
        if folder is None:
            return [None] * len(self._images)
        if not folder.is_dir():
            raise UserError(f'there is no folder of labels {folder}: check the path')
        candidates = [folder / f'{image.stem}.png' for image in self._images]
        found = [path if path.is_file() else None for path in candidates]
        if not any(found):
            raise UserError(f'the folder {folder} has no label image for {self._images[0]}: name '
                            f'it {candidates[0].name}')
        return found

    def __len__(self) -> int:
        """Count the images."""
        return len(self._images)

    def __getitem__(self, index: int) -> LabelledFrame:
        """
        Read one frame, counted from 0, or from the end if negative.

        Raises:
            IndexError: there are fewer.
            UserError: as while iterating.

        """
        return self._load(self._images[index], self._labels[index], self._stamps[index])

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read the first image, then the others."""
        for path, label_path, stamp in zip(self._images, self._labels, self._stamps, strict=True):
            yield self._load(path, label_path, stamp)

    def _load(self, path: Path, label_path: Path | None, stamp: int) -> LabelledFrame:
        frame = Frame(read_image(path), stamp, _FRAME_ID)
        labels = None if label_path is None else self._read_labels(label_path, path, frame)
        return LabelledFrame(frame, labels)

    def _read_labels(self, path: Path, image: Path, frame: Frame) -> LabelArray:
        labels = read_labels(path)
        if labels.shape != frame.size:
            raise UserError(f'the label image {path} is {labels.shape[1]}x{labels.shape[0]}, its '
                            f'image {image} is {frame.size[1]}x{frame.size[0]}: labels need the '
                            'size of their image')
        if self._table is None:
            return labels
        if labels.dtype != np.uint8:
            raise UserError(f'the label image {path} has 16 bits a pixel: save it with 8')
        mapped: UInt8Array = self._table[labels]
        return mapped


# CamVid's frame numbers count the frames of the 30 Hz video.
_CAMVID_RATE = 30


def camvid11_sources(folder: str | Path, fps: float | None = None) -> list[ImageFolder]:
    """
    Read a folder in the layout of the SegNet tutorial's CamVid.

    Args:
        folder: holds `images/` and `labels/`; a name is SEQUENCE_FRAME, such as 0016E5_07959 or
            0006R0_f00930, and FRAME counts at 30 Hz.
        fps: stamps at this rate instead of the times that the names tell.

    Returns:
        One source a sequence, in natural order, with labels as driving classes.

    Raises:
        UserError: not this layout.

    """
    root = Path(folder)
    sequences: dict[str, list[tuple[int, Path]]] = {}
    for path in list_images(root / 'images'):
        parts = re.fullmatch(r'(.+)_[a-z]?(\d+)', path.stem)
        if parts is None:
            raise UserError(f'{path} is not named SEQUENCE_FRAME with a number for FRAME, as '
                            'camvid11 has it: rename it, or read the folder as plain images')
        sequences.setdefault(parts[1], []).append((int(parts[2]), path))
    return [_camvid_sequence(name, sorted(frames), root, fps)
            for name, frames in sequences.items()]


def _camvid_sequence(name: str, frames: list[tuple[int, Path]], root: Path,
                     fps: float | None) -> ImageFolder:
    times = [round((number - frames[0][0]) * Fraction(_NANOSECONDS, _CAMVID_RATE))
             for number, _ in frames]
    return ImageFolder([path for _, path in frames], root / 'labels',
                       stamps=None if fps else times, fps=fps,
                       table=label_table(CAMVID11_TO_DRIVING), label_set=DRIVING, name=name)
