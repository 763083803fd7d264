"""
Ref-DAVIS17: DAVIS-2017 with four sentences an object.

Two annotators wrote one each after seeing the first frame, and one after seeing the whole video.
As downloaded from the two places that publish it:

    DAVIS/JPEGImages/480p/VIDEO/FRAME.jpg
    DAVIS/Annotations_unsupervised/480p/VIDEO/FRAME.png (object ids with a palette)
    DAVIS/ImageSets/2017/{train,val}.txt
    davis_text_annotations/Davis17_annot{1,2}{,_full_video}.txt (`VIDEO OBJECT "SENTENCE"` a line)

or brought into the layout of Ref-YouTube-VOS, as most works use it:

    meta_expressions/{train,valid}/meta_expressions.json
    {train,valid}/JPEGImages/VIDEO/FRAME.jpg
    {train,valid}/Annotations/VIDEO/FRAME.png

Both give the same clips: expression 4 N + A is annotation A (0 to 3, in `ANNOTATIONS`) of a
video's object number N, counted from 0. Pixels of id 255 are void and not scored. 24 Hz.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
from vseg_ros.io.image_folder import list_images

FPS = 24.0
VOID = 255
ANNOTATIONS = ('annotator_1', 'annotator_1_full', 'annotator_2', 'annotator_2_full')
"""Groups of the sentences; `full` are those written after seeing the whole video."""

_FILES = (('Davis17_annot1.txt', 'utf-8'), ('Davis17_annot1_full_video.txt', 'utf-8'),
          ('Davis17_annot2.txt', 'latin-1'), ('Davis17_annot2_full_video.txt', 'latin-1'))
_MISSPELT = {'clasic-car': 'classic-car', 'dog-scale': 'dogs-scale', 'motor-bike': 'motorbike'}
_LAYOUT = ('ref-davis17 has DAVIS/JPEGImages/480p/VIDEO/*.jpg, '
           'DAVIS/Annotations_unsupervised/480p/VIDEO/*.png and '
           'davis_text_annotations/Davis17_annot*.txt, or the layout of ref-youtube-vos')


def ref_davis17_clips(folder: str | Path, split: str | None = None) -> list[ReferringClip]:
    """
    Open Ref-DAVIS17.

    Args:
        folder: holds `DAVIS` and `davis_text_annotations`, or `meta_expressions`.
        split: train or valid (the default; val means the same).

    Returns:
        A clip an expression, who wrote it in `group`.

    Raises:
        UserError: neither layout, or no such split.

    """
    split = {None: 'valid', 'val': 'valid'}.get(split, split)
    if split not in ('train', 'valid'):
        raise UserError(f'ref-davis17 has no split {split!r}: choose train or valid')
    root = need_folder(Path(folder), _LAYOUT)
    if (root / 'meta_expressions').is_dir():
        videos = read_expressions(root / 'meta_expressions' / split / 'meta_expressions.json',
                                  _LAYOUT)
        images, annotations = (root / split / name for name in ('JPEGImages', 'Annotations'))
    else:
        images, annotations = (root / 'DAVIS' / name / '480p'
                               for name in ('JPEGImages', 'Annotations_unsupervised'))
        need_folder(images, _LAYOUT)
        videos = list(_published(root, images, split))
    need_folder(images, _LAYOUT)
    need_folder(annotations, _LAYOUT)
    return [clip for video in videos for clip in _clips(video, images, annotations)]


def _clips(video: Expressions, images: Path, annotations: Path) -> list[ReferringClip]:
    files = frame_files(images, video, _LAYOUT)
    masks = [annotations / video.video / f'{name}.png' for name in video.frames]
    clips = []
    for key, told in video.expressions.items():
        try:
            number, annotation = int(told['obj_id']), ANNOTATIONS[int(key) % len(ANNOTATIONS)]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f'expression {key} of {video.video} has no object or no number: '
                            'download or convert meta_expressions.json again') from error
        clips.append(ReferringClip(
            video.video, told['exp'], key, files, FPS, object_masks(masks, number),
            read_ignored=object_masks(masks, VOID), group=annotation))
    return clips


def _published(root: Path, images: Path, split: str) -> Iterator[Expressions]:
    """Yield the videos of a split from the published lists and text files."""
    listed = root / 'DAVIS' / 'ImageSets' / '2017' / f'{"val" if split == "valid" else split}.txt'
    texts = [_read_sentences(root / 'davis_text_annotations' / name, encoding)
             for name, encoding in _FILES]
    for video in _read_lines(listed):
        if not all(video in text for text in texts):
            raise UserError(f'{root / "davis_text_annotations"} has no sentences about {video} by '
                            'both annotators: download it again')
        objects = zip(*(text[video] for text in texts), strict=False)
        sentences = [sentence for four in objects for sentence in four]
        frames = tuple(path.stem for path in list_images(images / video))
        yield Expressions(video, frames, {
            str(number): {'obj_id': key, 'exp': text}
            for number, (key, text) in enumerate(sentences)})


def _read_sentences(path: Path, encoding: str) -> dict[str, list[tuple[str, str]]]:
    """Read `VIDEO OBJECT "SENTENCE"` lines: video -> (object, sentence), sorted by object."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in _read_lines(path, encoding):
        parts = re.fullmatch(r'(\S+)\s+(\d+)\s+.(.*).', line)
        if parts is None:
            raise UserError(f'{path} has a line that is not VIDEO OBJECT "SENTENCE", such as '
                            f'{line[:40]!r}: download it again')
        video = _MISSPELT.get(parts[1], parts[1])
        found.setdefault(video, []).append((parts[2], ' '.join(parts[3].split())))
    return {video: sorted(told, key=lambda one: one[0]) for video, told in found.items()}


def _read_lines(path: Path, encoding: str = 'utf-8') -> list[str]:
    """Read the lines of a text file that are not blank."""
    if not path.is_file():
        raise UserError(f'there is no file {path}: {_LAYOUT}')
    try:
        lines = path.read_text(encoding).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'cannot read {path} ({type(error).__name__}): download it again'
                        ) from error
    return [line.strip() for line in lines if line.strip()]
