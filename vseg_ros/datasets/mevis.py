"""
MeViS: sentences about motion, which may name several objects.

    {train,valid_u,valid}/meta_expressions.json
    {train,valid_u,valid}/JPEGImages/VIDEO/FRAME.jpg
    {train,valid_u}/mask_dict.json (annotation id -> a COCO mask a frame)

The mask of a sentence is the union of its annotations' masks. `valid_u` is for scores at home; the
answers for `valid`, which has no masks, are scored by a server. The data set does not tell the
frame rate; 6 Hz is taken.
"""

from __future__ import annotations

from pathlib import Path

from vseg_ros.datasets.layout import need_folder
from vseg_ros.datasets.referring import (
    ReferringClip,
    frame_files,
    read_expressions,
    read_json,
    run_length_masks,
    tracks_by_id,
)
from vseg_ros.errors import UserError

FPS = 6.0
_LAYOUT = ('mevis has SPLIT/meta_expressions.json, SPLIT/JPEGImages/VIDEO/*.jpg and, but for '
           'valid, SPLIT/mask_dict.json')
_SPLITS = ('train', 'valid_u', 'valid')


def mevis_clips(folder: str | Path, split: str | None = None) -> list[ReferringClip]:
    """
    Open MeViS.

    Args:
        folder: holds `train`, `valid_u` and `valid`.
        split: one of them, `valid_u` by default.

    Returns:
        A clip an expression, in the order of the list of expressions.

    Raises:
        UserError: not this layout, no such split, or a mask that the list names is not there.

    """
    split = split or 'valid_u'
    if split not in _SPLITS:
        raise UserError(f'mevis has no split {split!r}: choose {", ".join(_SPLITS)}')
    root = need_folder(need_folder(Path(folder), _LAYOUT) / split, _LAYOUT)
    images = need_folder(root / 'JPEGImages', _LAYOUT)
    videos = read_expressions(root / 'meta_expressions.json', _LAYOUT)
    path = root / 'mask_dict.json'
    masks = None if split == 'valid' and not path.is_file() else read_json(path, _LAYOUT)
    clips = []
    for video in videos:
        files = frame_files(images, video, _LAYOUT)
        for key, told in video.expressions.items():
            reader = None
            if masks is not None:
                tracks = tracks_by_id(masks, told.get('anno_id', ()), len(files), path)
                reader = run_length_masks(tracks, files, f'the mask of {video.video}, '
                                          f'expression {key},')
            clips.append(ReferringClip(video.video, told['exp'], key, files, FPS, reader))
    return clips
