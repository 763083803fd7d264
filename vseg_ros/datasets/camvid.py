"""
CamVid as it is published: 701 stills of four drives, labels in 32 colours.

    701_StillsRaw_full/0006R0_f00930.png
    LabeledApproved_full/0006R0_f00930_L.png

or, with the ids of label_colors.txt as single-channel images (any of both may hold either form):

    images/0006R0_f00930.png
    labels/0006R0_f00930_P.png

A name is SEQUENCE_FRAME, and FRAME counts at 30 Hz: most stills are a second apart, a part of
0016E5 is at 15 Hz, and the stamps tell which. The archive has no splits; whoever has one as a
list of names puts it beside the folders as SPLIT.txt.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from vseg_ros.datasets.layout import (
    NANOSECONDS,
    AnnotatedVideo,
    check_label_size,
    files_by_name,
    need_folder,
    need_labels,
    png_color_type,
    read_lines,
)
from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, LabelArray
from vseg_ros.io.image_folder import ImageFolder, list_images, read_image
from vseg_ros.labels import CAMVID32_PALETTE, CAMVID32_TO_DRIVING, ids_of_colors, label_table

_LAYOUT = ('camvid has 701_StillsRaw_full/NAME.png and LabeledApproved_full/NAME_L.png, or '
           'images/NAME.png and labels/NAME_P.png')
_FOLDERS = (('701_StillsRaw_full', 'LabeledApproved_full', '_L.png'),
            ('images', 'labels', '_P.png'))
_RATE = 30
_TABLE = label_table(CAMVID32_TO_DRIVING)


class _CamvidVideo(AnnotatedVideo):
    """A video whose label images may be painted in CamVid's colours."""

    def _read_labels(self, path: Path, image: Path, frame: Frame) -> LabelArray:
        if not png_color_type(path):
            return super()._read_labels(path, image, frame)
        painted = read_image(path)
        check_label_size(painted.shape[:2], path, image, frame)
        ids = ids_of_colors(painted, CAMVID32_PALETTE)
        if (ids == 255).all():
            raise UserError(f"the label image {path} has none of CamVid's 32 colours: use the "
                            'published label images')
        labels: LabelArray = _TABLE[ids]
        return labels


def camvid_sources(folder: str | Path, split: str | None = None) -> list[ImageFolder]:
    """
    Open CamVid.

    Args:
        folder: holds the folders of images and labels.
        split: take only the frames whose names SPLIT.txt in `folder` lists, one a line; paths
            and suffixes in it are passed over.

    Returns:
        One video a sequence, by name, with labels as driving classes.

    Raises:
        UserError: not this layout, no labels, or no such list.

    """
    root = need_folder(Path(folder), _LAYOUT)
    kind = next((kind for kind in _FOLDERS if (root / kind[0]).is_dir()), _FOLDERS[0])
    images = list_images(need_folder(root / kind[0], _LAYOUT))
    labels = files_by_name(need_folder(root / kind[1], _LAYOUT), kind[2])
    if split is not None:
        wanted = _names_of_split(root, split)
        images = [path for path in images if path.stem in wanted]
    sequences: dict[str, list[tuple[int, Path]]] = {}
    for path in images:
        parts = re.fullmatch(r'(.+)_[a-z]?(\d+)', path.stem)
        if parts is None:
            raise UserError(f'{path} is not named SEQUENCE_FRAME with a number for FRAME, as '
                            'camvid has it: remove it, or read the folder as plain images')
        sequences.setdefault(parts[1], []).append((int(parts[2]), path))
    return need_labels([_video(name, sorted(frames), labels)
                        for name, frames in sorted(sequences.items())], root, _LAYOUT)


def _video(name: str, frames: list[tuple[int, Path]], labels: dict[str, Path]) -> AnnotatedVideo:
    stamps = [round((number - frames[0][0]) * Fraction(NANOSECONDS, _RATE))
              for number, _ in frames]
    paths = [path for _, path in frames]
    return _CamvidVideo(name, paths, [labels.get(path.stem) for path in paths], stamps, _TABLE)


def _names_of_split(root: Path, split: str) -> set[str]:
    path = root / f'{split}.txt'
    if not path.is_file():
        raise UserError(f'there is no list {path}: CamVid is published without splits; put the '
                        f'names of the frames of {split} there, one a line, or give no split')
    return {Path(line.split()[0]).stem for line in read_lines(path, 'the list of frames')}
