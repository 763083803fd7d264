"""
One way in for every data set on disk: `open_dataset`.

Each format is a published layout of folders and names, read by the module of its name. Labels of
driving data sets come as the 15 driving classes (Time2General, Table 8), those of VSPW and ADE20K
as their own; a class map (`class_maps.py`) turns them into the classes that a segmenter of
another data set is scored in. Ids without a class there are 255.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from vseg_ros.class_maps import find_class_map
from vseg_ros.datasets.ade20k import ade20k_sources
from vseg_ros.datasets.apolloscape import apolloscape_sources
from vseg_ros.datasets.camvid import camvid_sources
from vseg_ros.datasets.cityscapes import cityscapes_sources
from vseg_ros.datasets.kitti360 import kitti360_sources
from vseg_ros.datasets.layout import Video
from vseg_ros.datasets.relabelled import RelabelledVideo
from vseg_ros.datasets.vspw import vspw_sources
from vseg_ros.errors import UserError
from vseg_ros.io.image_folder import ImageFolder, camvid11_sources

DatasetFormat = Literal['camvid', 'camvid11', 'cityscapes', 'kitti360', 'apolloscape', 'vspw',
                        'ade20k']
DATASET_FORMATS: tuple[DatasetFormat, ...] = get_args(DatasetFormat)


def _camvid11(folder: str | Path, split: str | None = None) -> list[ImageFolder]:
    if split is not None:
        raise UserError(f'camvid11 has a folder for each split: give {Path(folder) / split} '
                        'without a split')
    return camvid11_sources(folder)


_Reader = Callable[[str | Path, str | None], Sequence[Video]]

_READERS: dict[str, dict[str, _Reader]] = {
    'camvid': {'driving': camvid_sources},
    'camvid11': {'driving': _camvid11},
    'cityscapes': {'driving': cityscapes_sources,
                   'cityscapes': partial(cityscapes_sources, classes='cityscapes')},
    'kitti360': {'driving': kitti360_sources,
                 'cityscapes': partial(kitti360_sources, classes='cityscapes')},
    'apolloscape': {'driving': apolloscape_sources},
    'vspw': {'vspw': vspw_sources},
    'ade20k': {'ade20k': ade20k_sources},
}
"""Of each format, the label sets that its labels can come in, the usual one first: (folder, split)
-> videos."""


def open_dataset(folder: str | Path, format: str, split: str | None = None,
                 classes: str = '') -> list[Video]:
    """
    Open a data set; names are listed, images read when their frames are asked for.

    Args:
        folder: root of the data set.
        format: one of `DATASET_FORMATS`.
        split: train, val or test, where the data set has splits.
        classes: name of a class map whose target classes the labels are wanted in; what it leaves
            out is 255. Empty for the format's own classes.

    Returns:
        One `FrameSource` a video, whose frames can also be read by number (`video[i]`,
        `len(video)`); labels are None on a frame that nobody labelled.

    Raises:
        UserError: an unknown format, the folder is not in its layout, or no such class map, or
            one for other labels; while reading, a damaged image or labels of another size than
            their image.

    """
    if format not in _READERS:
        raise UserError(f'there is no data set format {format!r}: choose one of '
                        f'{", ".join(DATASET_FORMATS)}')
    readers = _READERS[format]
    if not classes:
        return list(next(iter(readers.values()))(folder, split))
    class_map = find_class_map(classes)
    if class_map.truth not in readers:
        raise UserError(f'classes {classes!r} scores labels in the classes of {class_map.truth}, '
                        f'and those of {format} come as {" or ".join(readers)}: choose other '
                        'classes')
    return [RelabelledVideo(video, class_map)
            for video in readers[class_map.truth](folder, split)]
