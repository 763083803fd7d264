"""
One way in for every referring data set on disk: `open_referring`.

Each format is a published layout of folders and names, read by the module of its name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from vseg_ros.datasets.mevis import mevis_clips
from vseg_ros.datasets.ref_davis17 import ref_davis17_clips
from vseg_ros.datasets.ref_youtube_vos import ref_youtube_vos_clips
from vseg_ros.datasets.refcoco import refcoco_clips
from vseg_ros.datasets.referring import ReferringClip
from vseg_ros.datasets.revos import revos_clips
from vseg_ros.errors import UserError

ReferringFormat = Literal['ref-youtube-vos', 'ref-davis17', 'mevis', 'revos', 'refcoco']
REFERRING_FORMATS: tuple[ReferringFormat, ...] = get_args(ReferringFormat)

_READERS: dict[str, Callable[[str | Path, str | None], list[ReferringClip]]] = {
    'ref-youtube-vos': ref_youtube_vos_clips, 'ref-davis17': ref_davis17_clips,
    'mevis': mevis_clips, 'revos': revos_clips, 'refcoco': refcoco_clips}


def open_referring(folder: str | Path, format: str, split: str | None = None
                   ) -> list[ReferringClip]:
    """
    Open a referring data set; images and masks are read when a clip is asked for them.

    Args:
        folder: root of the data set.
        format: one of `REFERRING_FORMATS`.
        split: as the data set names it; by default the one that is evaluated.

    Returns:
        A clip an expression; those of one video follow one another.

    Raises:
        UserError: an unknown format or split, or the folder is not in its layout.

    """
    if format not in _READERS:
        raise UserError(f'there is no referring data set format {format!r}: choose one of '
                        f'{", ".join(REFERRING_FORMATS)}')
    return _READERS[format](folder, split)
