"""
Cityscapes, with its 30-frame sequences or without.

    leftImg8bit_sequence/SPLIT/CITY/CITY_SSSSSS_FFFFFF_leftImg8bit.png
    leftImg8bit/SPLIT/CITY/CITY_SSSSSS_FFFFFF_leftImg8bit.png
    gtFine/SPLIT/CITY/CITY_SSSSSS_FFFFFF_gtFine_labelIds.png (or _gtFine_labelTrainIds.png)

A video is a snippet: a run of 30 consecutive FFFFFF of one CITY_SSSSSS, of which one, the
twentieth, is labelled. In some cities SSSSSS is a drive of many such snippets. Without the
sequences every labelled image is a video of one frame, for its neighbours are not there. Stamps
count at 17 Hz from a video's first frame.

Labels are the 15 driving classes or the 19 of Cityscapes' own trainIds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from vseg_ros.class_names import CITYSCAPES, LABEL_SETS
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
from vseg_ros.labels import (
    CITYSCAPES_LABEL_TO_TRAIN,
    CITYSCAPES_TO_DRIVING,
    CITYSCAPES_TRAIN_TO_DRIVING,
    DRIVING,
    LabelSet,
    label_table,
)

_LAYOUT = ('cityscapes has leftImg8bit_sequence/SPLIT/CITY/*_leftImg8bit.png (or leftImg8bit/…) '
           'and gtFine/SPLIT/CITY/*_gtFine_labelIds.png')
_IMAGES = ('leftImg8bit_sequence', 'leftImg8bit')
_IMAGE_SUFFIX = '_leftImg8bit.png'
_LABEL_SUFFIXES = ('_gtFine_labelIds.png', '_gtFine_labelTrainIds.png')
_TABLES = {
    DRIVING: (label_table(CITYSCAPES_TO_DRIVING), label_table(CITYSCAPES_TRAIN_TO_DRIVING)),
    CITYSCAPES: (label_table(CITYSCAPES_LABEL_TO_TRAIN),
                 label_table({number: number for number in range(len(CITYSCAPES))}))}
"""For each label set that the labels come as, what the ids of both kinds of file become."""
_RATE = 17
_SNIPPET = 30


def cityscapes_sources(folder: str | Path, split: str | None = None,
                       classes: str = 'driving') -> list[ImageFolder]:
    """
    Open Cityscapes; sequences are taken where the split has them.

    Args:
        folder: holds `leftImg8bit_sequence` or `leftImg8bit`, and `gtFine`.
        split: train, val or test; may be left out if only one is there.
        classes: 'driving', or 'cityscapes' for its own 19.

    Returns:
        One video a snippet, named CITY_SSSSSS_FIRST-FRAME, in order of city, sequence and frame.

    Raises:
        UserError: not this layout, no labels, no such split, or several to choose from.

    """
    root = need_folder(Path(folder), _LAYOUT)
    images = _folder_of_split(root, split)
    labels = need_folder(root / 'gtFine' / images.name, _LAYOUT)
    return need_labels([video for city in subfolders(images) for video in _videos_of_city(
        city, labels / city.name, LABEL_SETS[classes])], images, _LAYOUT)


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


def _videos_of_city(images: Path, labels: Path, label_set: LabelSet) -> list[AnnotatedVideo]:
    sequences: dict[str, dict[int, Path]] = {}
    for stem, path in files_by_name(images, _IMAGE_SUFFIX).items():
        parts = re.fullmatch(r'(.+_\d+)_(\d+)', stem)
        if parts is None:
            raise UserError(f'{path} is not named CITY_SEQUENCE_FRAME{_IMAGE_SUFFIX}, as '
                            'cityscapes has it: rename or remove it')
        sequences.setdefault(parts[1], {})[int(parts[2])] = path
    label_of, table = _label_files(labels, label_set)
    videos = []
    for sequence, frames in sorted(sequences.items()):
        for run in _snippets(sorted(frames)):
            paths = [frames[number] for number in run]
            stamps = [round((number - run[0]) * Fraction(NANOSECONDS, _RATE)) for number in run]
            label_files = [label_of.get(path.name.removesuffix(_IMAGE_SUFFIX)) for path in paths]
            videos.append(AnnotatedVideo(f'{sequence}_{run[0]:06}', paths, label_files, stamps,
                                         table, label_set))
    return videos


def _snippets(numbers: list[int]) -> Iterator[list[int]]:
    """Cut frame numbers where one is lost, and where one snippet follows at once on another."""
    for run in consecutive_runs(numbers):
        for start in range(0, len(run), _SNIPPET):
            yield run[start:start + _SNIPPET]


def _label_files(folder: Path, label_set: LabelSet) -> tuple[dict[str, Path], UInt8Array]:
    """List a city's label images by stem, with the table of the kind of ids they hold."""
    ids, train_ids = (files_by_name(folder, suffix) for suffix in _LABEL_SUFFIXES)
    tables = _TABLES[label_set]
    return (ids, tables[0]) if ids else (train_ids, tables[1])
