"""
ADE20K's scene parsing challenge (ADEChallengeData2016): single images of 150 classes.

    images/training/ADE_train_NNNNNNNN.jpg        images/validation/ADE_val_NNNNNNNN.jpg
    annotations/training/ADE_train_NNNNNNNN.png   annotations/validation/ADE_val_NNNNNNNN.png

Every image is a video of one frame. In the label images 0 is what has no class, class C is C + 1.
"""

from __future__ import annotations

from pathlib import Path

from vseg_ros.class_names import ADE20K
from vseg_ros.datasets.layout import AnnotatedVideo, files_by_name, need_folder, need_labels
from vseg_ros.errors import UserError
from vseg_ros.io.image_folder import ImageFolder
from vseg_ros.labels import label_table

_LAYOUT = ('ade20k has images/training/*.jpg or images/validation/*.jpg, and '
           'annotations/training/*.png or annotations/validation/*.png')
_FOLDERS = {'train': 'training', 'val': 'validation'}
_TABLE = label_table({number + 1: number for number in range(len(ADE20K))})


def ade20k_sources(folder: str | Path, split: str | None = None) -> list[ImageFolder]:
    """
    Open ADE20K.

    Args:
        folder: holds `images` and `annotations`.
        split: train or val, by default val.

    Returns:
        One video of one frame an image, by name, with labels as ADE20K's classes.

    Raises:
        UserError: not this layout, no such split, or no labels.

    """
    root = need_folder(Path(folder), _LAYOUT)
    name = _FOLDERS.get(split or 'val')
    if name is None:
        raise UserError(f'ade20k has no split {split}, only {", ".join(_FOLDERS)}')
    images = files_by_name(need_folder(root / 'images' / name, _LAYOUT), '.jpg')
    labels = files_by_name(need_folder(root / 'annotations' / name, _LAYOUT), '.png')
    return need_labels([AnnotatedVideo(stem, [images[stem]], [labels.get(stem)], [0], _TABLE,
                                       ADE20K) for stem in sorted(images)],
                       root / 'images' / name, _LAYOUT)
