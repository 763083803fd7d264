"""
Cityscapes, with its 30-frame sequences or without.

    leftImg8bit_sequence/SPLIT/CITY/CITY_SSSSSS_FFFFFF_leftImg8bit.png
    leftImg8bit/SPLIT/CITY/CITY_SSSSSS_FFFFFF_leftImg8bit.png
    gtFine/SPLIT/CITY/CITY_SSSSSS_FFFFFF_gtFine_labelIds.png (or _gtFine_labelTrainIds.png)

A video is a run of consecutive FFFFFF of one CITY_SSSSSS; of its 30 frames one, the twentieth, is
labelled. In some cities SSSSSS is a drive of many such snippets. Without the sequences every
labelled image is a video of one frame, for its neighbours are not there. Stamps count at 17 Hz
from a video's first frame.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from vseg_ros.datasets.layout import (
    NANOSECONDS,
    AnnotatedVideo,
    consecutive_runs,
    files_by_name,
    need_folder,
    need_labels,
    subfolders,
)
from vseg_ros.errors import UserError
from vseg_ros.frame import UInt8Array
from vseg_ros.io.image_folder import ImageFolder
from vseg_ros.labels import CITYSCAPES_TO_DRIVING, CITYSCAPES_TRAIN_TO_DRIVING, label_table

_LAYOUT = ('cityscapes has leftImg8bit_sequence/SPLIT/CITY/*_leftImg8bit.png (or leftImg8bit/…) '
           'and gtFine/SPLIT/CITY/*_gtFine_labelIds.png')
_IMAGES = ('leftImg8bit_sequence', 'leftImg8bit')
_IMAGE_SUFFIX = '_leftImg8bit.png'
_LABELS = (('_gtFine_labelIds.png', label_table(CITYSCAPES_TO_DRIVING)),
           ('_gtFine_labelTrainIds.png', label_table(CITYSCAPES_TRAIN_TO_DRIVING)))
_RATE = 17


def cityscapes_sources(folder: str | Path, split: str | None = None) -> list[ImageFolder]:
    """
    Open Cityscapes; sequences are taken where the split has them.

    Args:
        folder: holds `leftImg8bit_sequence` or `leftImg8bit`, and `gtFine`.
        split: train, val or test; may be left out if only one is there.

    Returns:
        One video a snippet, named CITY_SSSSSS_FIRST-FRAME, in order of city, sequence and frame,
        with labels as driving classes.

    Raises:
        UserError: not this layout, no labels, no such split, or several to choose from.

    """
    root = need_folder(Path(folder), _LAYOUT)
    images = _folder_of_split(root, split)
    labels = need_folder(root / 'gtFine' / images.name, _LAYOUT)
    return need_labels([video for city in subfolders(images)
                        for video in _videos_of_city(city, labels / city.name)], images, _LAYOUT)


def _folder_of_split(root: Path, split: str | None) -> Path:
    found: dict[str, Path] = {}
    for kind in _IMAGES:
        for path in subfolders(root / kind):
            found.setdefault(path.name, path)
    if not found:
        raise UserError(f'there is no split in {root}: {_LAYOUT}')
    names = ', '.join(sorted(found))
    if split is None and len(found) > 1:
        raise UserError(f'{root} has the splits {names}: name one')
    if split is not None and split not in found:
        raise UserError(f'{root} has no split {split}, only {names}: {_LAYOUT}')
    return found[split or names]


def _videos_of_city(images: Path, labels: Path) -> list[AnnotatedVideo]:
    sequences: dict[str, dict[int, Path]] = {}
    for stem, path in files_by_name(images, _IMAGE_SUFFIX).items():
        parts = re.fullmatch(r'(.+_\d+)_(\d+)', stem)
        if parts is None:
            raise UserError(f'{path} is not named CITY_SEQUENCE_FRAME{_IMAGE_SUFFIX}, as '
                            'cityscapes has it: rename or remove it')
        sequences.setdefault(parts[1], {})[int(parts[2])] = path
    label_of, table = _label_files(labels)
    videos = []
    for sequence, frames in sorted(sequences.items()):
        for run in consecutive_runs(sorted(frames)):
            paths = [frames[number] for number in run]
            stamps = [round((number - run[0]) * Fraction(NANOSECONDS, _RATE)) for number in run]
            label_files = [label_of.get(path.name.removesuffix(_IMAGE_SUFFIX)) for path in paths]
            videos.append(AnnotatedVideo(f'{sequence}_{run[0]:06}', paths, label_files, stamps,
                                         table))
    return videos


def _label_files(folder: Path) -> tuple[dict[str, Path], UInt8Array]:
    """List a city's label images by stem, with the table of the kind of ids they hold."""
    ids, train_ids = ((files_by_name(folder, suffix), table) for suffix, table in _LABELS)
    return ids if ids[0] else train_ids
