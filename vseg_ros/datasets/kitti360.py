"""
KITTI-360: the left rectified camera of nine annotated drives.

    data_2d_raw/DRIVE/image_00/data_rect/FFFFFFFFFF.png
    data_2d_raw/DRIVE/image_00/timestamps.txt (a download of its own; without it, 10 Hz)
    data_2d_semantics/train/DRIVE/image_00/semantic/FFFFFFFFFF.png
    data_2d_semantics/train/2013_05_28_drive_{train,val}_frames.txt

A drive has thousands of frames with labels in stretches. A video is one stretch: from a labelled
frame to the last that has no more than a second to the one before. Frames in between that nobody
labelled are in the video, without labels. Line N of timestamps.txt, counted from 0, is the time
of frame N. Labels are the 15 driving classes, or the 19 classes of Cityscapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from vseg_ros.class_names import CITYSCAPES, LABEL_SETS
from vseg_ros.datasets.layout import (
    NANOSECONDS,
    AnnotatedVideo,
    consecutive_runs,
    files_by_name,
    need_folder,
    need_labels,
    read_lines,
    subfolders,
)
from vseg_ros.errors import UserError
from vseg_ros.io.image_folder import ImageFolder
from vseg_ros.labels import (
    DRIVING,
    KITTI360_LABEL_TO_TRAIN,
    KITTI360_TO_DRIVING,
    LabelSet,
    label_table,
)

_LAYOUT = ('kitti360 has data_2d_raw/DRIVE/image_00/data_rect/*.png and '
           'data_2d_semantics/train/DRIVE/image_00/semantic/*.png')
_RATE = 10
_TABLES = {DRIVING: label_table(KITTI360_TO_DRIVING),
           CITYSCAPES: label_table(KITTI360_LABEL_TO_TRAIN)}


def kitti360_sources(folder: str | Path, split: str | None = None,
                     classes: str = 'driving') -> list[ImageFolder]:
    """
    Open KITTI-360.

    Args:
        folder: holds `data_2d_raw` and `data_2d_semantics`.
        split: train or val, whose frames the data set lists; None takes every labelled frame of
            the drives whose images are there.
        classes: 'driving', or 'cityscapes' for the 19 that it shares with Cityscapes.

    Returns:
        One video a labelled stretch, named DRIVE_FIRST-FRAME, in order of drive and frame.

    Raises:
        UserError: not this layout, no labels, no such list, or an image or time of a labelled
            frame is missing.

    """
    root = need_folder(Path(folder), _LAYOUT)
    raw = need_folder(root / 'data_2d_raw', _LAYOUT)
    semantics = need_folder(root / 'data_2d_semantics' / 'train', _LAYOUT)
    listed = None if split is None else _frames_of_split(semantics, split)
    videos: list[AnnotatedVideo] = []
    for drive in subfolders(semantics) if listed is None else [raw / name for name in listed]:
        camera = raw / drive.name / 'image_00'
        if listed is None and not camera.is_dir():
            continue  # labels come in one download, images drive by drive
        images = _by_number(need_folder(camera / 'data_rect', _LAYOUT))
        labels = _by_number(semantics / drive.name / 'image_00' / 'semantic')
        if listed is not None:
            labels = {number: labels[number] for number in listed[drive.name] if number in labels}
        videos += _videos_of_drive(drive.name, camera, images, labels, LABEL_SETS[classes])
    return need_labels(videos, raw, _LAYOUT)


def _by_number(folder: Path) -> dict[int, Path]:
    return {int(stem): path for stem, path in files_by_name(folder, '.png').items()
            if stem.isdecimal()}


def _videos_of_drive(drive: str, camera: Path, images: dict[int, Path],
                     labels: dict[int, Path], label_set: LabelSet) -> list[AnnotatedVideo]:
    missing = next((number for number in sorted(labels) if number not in images), None)
    if missing is not None:
        raise UserError(f'{labels[missing]} has no image {camera}/data_rect/{missing:010}.png: '
                        f'download the images of {drive} whole')
    times = _read_times(camera / 'timestamps.txt')
    videos = []
    for run in consecutive_runs(sorted(labels), largest_step=_RATE):
        numbers = [number for number in range(run[0], run[-1] + 1) if number in images]
        videos.append(AnnotatedVideo(
            f'{drive}_{run[0]:010}', [images[number] for number in numbers],
            [labels.get(number) for number in numbers], _stamps(numbers, times, camera),
            _TABLES[label_set], label_set))
    return videos


def _stamps(numbers: list[int], times: list[int] | None, camera: Path) -> Sequence[int]:
    if times is None:
        return [(number - numbers[0]) * NANOSECONDS // _RATE for number in numbers]
    if numbers[-1] >= len(times):
        raise UserError(f'{camera}/timestamps.txt has {len(times)} lines and no time of frame '
                        f'{numbers[-1]}: download it again, or remove it for an even '
                        f'{_RATE} frames a second')
    return [times[number] for number in numbers]


def _read_times(path: Path) -> list[int] | None:
    """Read `2013-05-28 08:46:02.904475136` a line as nanoseconds since 1970; None if missing."""
    if not path.is_file():
        return None
    times = []
    for place, line in enumerate(read_lines(path, 'the times'), 1):
        parts = re.fullmatch(r'(\d+-\d+-\d+ \d+:\d+:\d+)(?:\.(\d{1,9}))?', line.strip())
        try:
            moment = datetime.strptime(parts[1] if parts else '', '%Y-%m-%d %H:%M:%S')
        except ValueError as error:
            raise UserError(f'line {place} of {path} is no time such as 2013-05-28 08:46:02.9: '
                            'download the file again') from error
        seconds = round(moment.replace(tzinfo=timezone.utc).timestamp())
        fraction = (parts[2] if parts else None) or ''
        times.append(seconds * NANOSECONDS + int(fraction.ljust(9, '0')))
    return times


def _frames_of_split(semantics: Path, split: str) -> dict[str, set[int]]:
    """Read the pairs of paths `data_2d_raw/DRIVE/…/FRAME.png …` of a split, drive by drive."""
    path = semantics / f'2013_05_28_drive_{split}_frames.txt'
    if not path.is_file():
        raise UserError(f'there is no list {path}: kitti360 has the splits train and val, listed '
                        'in the download of the semantics')
    frames: dict[str, set[int]] = {}
    for place, line in enumerate(read_lines(path, 'the list of frames'), 1):
        parts = re.match(r'data_2d_raw/([^/\s]+)/image_00/data_rect/(\d+)\.png\s', line + ' ')
        if parts is None:
            raise UserError(f'line {place} of {path} does not begin with the path of an image, '
                            'data_2d_raw/DRIVE/image_00/data_rect/FRAME.png: download it again')
        frames.setdefault(parts[1], set()).add(int(parts[2]))
    return dict(sorted(frames.items()))
