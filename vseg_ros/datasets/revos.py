"""
ReVOS: sentences that name objects, need reasoning, or match nothing.

    JPEGImages/VIDEO/FRAME.jpg (train and valid; a VIDEO may lie in folders)
    meta_expressions_{train,valid}_.json (`type_id` 0 referring, 1 reasoning, 2 neither)
    mask_dict.json (annotation id -> a COCO mask a frame)
    mask_dict_foreground.json (video -> `masks_rle`, all its annotated objects; may be missing)

Scores are given for referring and reasoning sentences and as the mean of the two; the third kind
is in no mean of J and F. The data set does not tell the frame rate; 6 Hz is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vseg_ros.datasets.layout import need_folder
from vseg_ros.datasets.referring import (
    NO_MATCH,
    Expressions,
    MaskReader,
    ReferringClip,
    frame_files,
    read_expressions,
    read_json,
    run_length_masks,
    tracks_by_id,
)
from vseg_ros.errors import UserError

FPS = 6.0
GROUPS = {0: 'referring', 1: 'reasoning', 2: NO_MATCH}
"""Names of `type_id`."""

_LAYOUT = ('revos has JPEGImages/VIDEO/*.jpg, meta_expressions_{train,valid}_.json and '
           'mask_dict.json')


def revos_clips(folder: str | Path, split: str | None = None) -> list[ReferringClip]:
    """
    Open ReVOS.

    Args:
        folder: holds `JPEGImages` and the lists.
        split: train or valid (the default).

    Returns:
        A clip an expression, its kind in `group`, in the order of the list of expressions.

    Raises:
        UserError: not this layout, no such split, or a mask that the list names is not there.

    """
    split = split or 'valid'
    if split not in ('train', 'valid'):
        raise UserError(f'revos has no split {split!r}: choose train or valid')
    root = need_folder(Path(folder), _LAYOUT)
    images = need_folder(root / 'JPEGImages', _LAYOUT)
    meta = root / f'meta_expressions_{split}_.json'
    videos = read_expressions(meta, _LAYOUT)
    path = root / 'mask_dict.json'
    masks = read_json(path, _LAYOUT)
    every = root / 'mask_dict_foreground.json'
    foregrounds = read_json(every, _LAYOUT) if every.is_file() else {}
    clips = []
    for video in videos:
        files = frame_files(images, video, _LAYOUT)
        foreground = _foreground(foregrounds, video, files, every)
        for key, told in video.expressions.items():
            tracks = tracks_by_id(masks, told.get('anno_id', ()), len(files), path)
            reader = run_length_masks(tracks, files, f'the mask of {video.video}, expression '
                                      f'{key},')
            clips.append(ReferringClip(video.video, told['exp'], key, files, FPS, reader,
                                       foreground, group=_group(told, meta)))
    return clips


def _group(told: Mapping[str, Any], meta: Path) -> str:
    try:
        return GROUPS[told['type_id']]
    except (KeyError, TypeError) as error:
        raise UserError(f'{meta} has an expression whose type_id is none of 0, 1 and 2: download '
                        'it again') from error


def _foreground(foregrounds: Mapping[str, Any], video: Expressions, files: tuple[Path, ...],
                path: Path) -> MaskReader | None:
    told = foregrounds.get(video.video)
    if told is None:
        return None
    tracks = tracks_by_id({video.video: told.get('masks_rle')}, [video.video], len(files), path)
    return run_length_masks(tracks, files, f'the foreground of {video.video}')
