"""
ApolloScape's scene parsing: records of two front cameras, a frame a metre driven.

    ROAD_LEVEL/ColorImage/RecordNNN/Camera N/yymmdd_HHMMSSmmm_Camera_N.jpg
    ROAD_LEVEL/Label/RecordNNN/Camera N/yymmdd_HHMMSSmmm_Camera_N_bin.png
    ROAD_LEVEL_{train,val,test}.lst (from the image lists; here or in a folder beside the roads)

ROAD_LEVEL is road01_ins, road02_seg and so on. ColorImage and Label may also stand above the
roads, as the data set's page draws it, and the folder given may be one road. A video is a camera's
record; its stamps are the times in the names, taken as UTC. The labels of the test frames are
255 throughout.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

from vseg_ros.datasets.layout import (
    NANOSECONDS,
    AnnotatedVideo,
    files_by_name,
    need_folder,
    need_labels,
    read_lines,
)
from vseg_ros.errors import UserError
from vseg_ros.io.image_folder import ImageFolder
from vseg_ros.labels import APOLLOSCAPE_TO_DRIVING, label_table

_LAYOUT = ('apolloscape has ROAD/ColorImage/RecordNNN/Camera N/*.jpg and '
           'ROAD/Label/RecordNNN/Camera N/*_bin.png')
_CAMERAS = ('ColorImage/*/Camera*', '*/ColorImage/*/Camera*', 'ColorImage/*/*/Camera*')
_TABLE = label_table(APOLLOSCAPE_TO_DRIVING)


def apolloscape_sources(folder: str | Path, split: str | None = None) -> list[ImageFolder]:
    """
    Open ApolloScape's scene parsing.

    Args:
        folder: holds the roads, or is one.
        split: train, val or test; needs the image lists of the data set.

    Returns:
        One video a record and camera, named ROAD_RECORD_CAMERA, in order of their paths, with
        labels as driving classes.

    Raises:
        UserError: not this layout, no labels, or no list of that split.

    """
    root = need_folder(Path(folder), _LAYOUT)
    wanted = None if split is None else _names_of_split(root, split)
    cameras = sorted(path for pattern in _CAMERAS for path in root.glob(pattern) if path.is_dir())
    videos = []
    for camera in cameras:
        images = files_by_name(camera, '.jpg')
        names = [name for name in images if wanted is None or name in wanted]
        if names:
            videos.append(_video(root, camera, {name: images[name] for name in names}))
    return need_labels(videos, root, _LAYOUT)


def _video(root: Path, camera: Path, images: dict[str, Path]) -> AnnotatedVideo:
    times = sorted((_time_in_name(path), name) for name, path in images.items())
    parts = ['Label' if part == 'ColorImage' else part for part in camera.relative_to(root).parts]
    labels = files_by_name(root.joinpath(*parts), '_bin.png')
    road = [root.name] if parts[0] == 'Label' and len(parts) == 3 else []
    name = '_'.join([*road, *(part for part in parts if part != 'Label')]).replace(' ', '_')
    return AnnotatedVideo(name, [images[stem] for _, stem in times],
                          [labels.get(stem) for _, stem in times],
                          [time for time, _ in times], _TABLE)


def _time_in_name(path: Path) -> int:
    """Read `170908_061502408` as nanoseconds since 1970."""
    parts = re.match(r'(\d{6}_\d{6})(\d{3})_', path.name)
    try:
        moment = datetime.strptime(parts[1] if parts else '', '%y%m%d_%H%M%S')
    except ValueError as error:
        raise UserError(f'{path} is not named yymmdd_HHMMSSmmm_Camera_N.jpg, as apolloscape has '
                        'it: rename or remove it') from error
    seconds = round(moment.replace(tzinfo=timezone.utc).timestamp())
    return seconds * NANOSECONDS + int(parts[2] if parts else 0) * 1_000_000


def _names_of_split(root: Path, split: str) -> set[str]:
    """Read the names of the images, the first of a line's two paths."""
    lists = sorted({*root.glob(f'*_{split}.lst'), *root.glob(f'*/*_{split}.lst')})
    if not lists:
        raise UserError(f'there is no list *_{split}.lst in {root}: apolloscape has the splits '
                        'train, val and test in its image lists; download them, or give no split')
    return {re.split(r'[/\\]', line.split('\t')[0].strip())[-1].removesuffix('.jpg')
            for path in lists for line in read_lines(path, 'the list of images')}
