"""
One way in for every data set on disk: `open_dataset`.

Each format is a published layout of folders and names, read by the module of its name; labels
come as the 15 driving classes (Time2General, Table 8), ids without a class there as 255.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from vseg_ros.datasets.apolloscape import apolloscape_sources
from vseg_ros.datasets.camvid import camvid_sources
from vseg_ros.datasets.cityscapes import cityscapes_sources
from vseg_ros.datasets.kitti360 import kitti360_sources
from vseg_ros.errors import UserError
from vseg_ros.io.image_folder import ImageFolder, camvid11_sources

DatasetFormat = Literal['camvid', 'camvid11', 'cityscapes', 'kitti360', 'apolloscape']
DATASET_FORMATS: tuple[DatasetFormat, ...] = get_args(DatasetFormat)


def _camvid11(folder: str | Path, split: str | None = None) -> list[ImageFolder]:
    if split is not None:
        raise UserError(f'camvid11 has a folder for each split: give {Path(folder) / split} '
                        'without a split')
    return camvid11_sources(folder)


_READERS: dict[str, Callable[[str | Path, str | None], list[ImageFolder]]] = {
    'camvid': camvid_sources, 'camvid11': _camvid11, 'cityscapes': cityscapes_sources,
    'kitti360': kitti360_sources, 'apolloscape': apolloscape_sources}


def open_dataset(folder: str | Path, format: str, split: str | None = None) -> list[ImageFolder]:
    """
    Open a data set; names are listed, images read when their frames are asked for.

    Args:
        folder: root of the data set.
        format: one of `DATASET_FORMATS`.
        split: train, val or test, where the data set has splits.

    Returns:
        One `FrameSource` a video, whose frames can also be read by number (`video[i]`,
        `len(video)`); labels are driving classes, None on a frame that nobody labelled.

    Raises:
        UserError: an unknown format, or the folder is not in its layout; while reading, a
            damaged image or labels of another size than their image.

    """
    if format not in _READERS:
        raise UserError(f'there is no data set format {format!r}: choose one of '
                        f'{", ".join(DATASET_FORMATS)}')
    return _READERS[format](folder, split)
