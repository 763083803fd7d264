"""
Ref-YouTube-VOS: sentences about YouTube-VOS, one object each.

    meta_expressions/{train,valid,test}/meta_expressions.json
    {train,valid}/JPEGImages/VIDEO/FRAME.jpg
    train/Annotations/VIDEO/FRAME.png (object ids with a palette)

Frames are every fifth of a video of 30 Hz, hence 6 Hz. Masks are published for train alone; the
answers for valid are scored by a server. The list of valid names the videos of test too, whose
images are in the same folder: those that the list of test names are left out.
"""

from __future__ import annotations

from pathlib import Path

from vseg_ros.datasets.layout import need_folder
from vseg_ros.datasets.referring import (
    Expressions,
    ReferringClip,
    frame_files,
    object_masks,
    read_expressions,
)
from vseg_ros.errors import UserError

FPS = 6.0
_LAYOUT = ('ref-youtube-vos has meta_expressions/SPLIT/meta_expressions.json, '
           'SPLIT/JPEGImages/VIDEO/*.jpg and train/Annotations/VIDEO/*.png')


def ref_youtube_vos_clips(folder: str | Path, split: str | None = None) -> list[ReferringClip]:
    """
    Open Ref-YouTube-VOS.

    Args:
        folder: holds `meta_expressions`, `train` and `valid`.
        split: train, valid (the default) or test.

    Returns:
        A clip an expression, sorted by video; masks in train only, wherever `Annotations` is.

    Raises:
        UserError: not this layout, or no such split.

    """
    split = split or 'valid'
    root = need_folder(Path(folder), _LAYOUT)
    videos = _videos(root / 'meta_expressions', split)
    # The images of test are part of the download of valid.
    data = root / ('valid' if split == 'test' and not (root / 'test').is_dir() else split)
    images = need_folder(data / 'JPEGImages', _LAYOUT)
    annotations = data / 'Annotations'
    if split == 'train':
        need_folder(annotations, _LAYOUT)
    return [clip for video in sorted(videos, key=lambda video: video.video)
            for clip in _clips(video, images, annotations)]


def _videos(meta: Path, split: str) -> list[Expressions]:
    if split not in ('train', 'valid', 'test'):
        raise UserError(f'ref-youtube-vos has no split {split!r}: choose train, valid or test')
    videos = read_expressions(meta / split / 'meta_expressions.json', _LAYOUT)
    test = meta / 'test' / 'meta_expressions.json'
    if split != 'valid' or not test.is_file():
        return videos
    others = {video.video for video in read_expressions(test, _LAYOUT)}
    return [video for video in videos if video.video not in others]


def _clips(video: Expressions, images: Path, annotations: Path) -> list[ReferringClip]:
    files = frame_files(images, video, _LAYOUT)
    masks = [annotations / video.video / f'{name}.png' for name in video.frames]
    clips = []
    for key, told in video.expressions.items():
        known = annotations.is_dir() and 'obj_id' in told
        clips.append(ReferringClip(
            video.video, told['exp'], key, files, FPS,
            object_masks(masks, int(told['obj_id'])) if known else None))
    return clips
