"""
One way in for every kind of source: `open_source` for a video, `open_sources` for a data set.

What a source is follows from what stands there: `street:SEED[:FRAMES]` is the synthetic street,
an .mcap or .db3 file or a folder with metadata.yaml is a bag, any other folder is one of images,
and any other file is a video.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from vseg_ros.errors import UserError
from vseg_ros.io.bag_file import BAG_SUFFIXES
from vseg_ros.io.bag_source import BagSource
from vseg_ros.io.frame_source import FrameSource, LabelledFrame
from vseg_ros.io.image_folder import ImageFolder, camvid11_sources
from vseg_ros.io.skipped_images import SkippedImages
from vseg_ros.io.video import VideoFile
from vseg_ros.labels import DRIVING

Format = Literal['auto', 'bag', 'video', 'images', 'camvid11', 'street']

_STREET = 'street:'
_STREET_FRAMES = 120
_STREET_FPS = 30


class StreetSource:
    """
    The synthetic street as a `FrameSource` with exact labels.

    Args:
        uri: `street:SEED` or `street:SEED:FRAMES`.
        fps: frames a second, 30 by default.

    Raises:
        UserError: not of that form.

    """

    path = None

    def __init__(self, uri: str, fps: float | None = None) -> None:
        numbers = uri.removeprefix(_STREET).split(':')
        if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
            raise UserError(f'{uri!r} is no street: write street:SEED or street:SEED:FRAMES with '
                            'whole numbers, such as street:0:120')
        self._seed = int(numbers[0])
        frames = int(numbers[1]) if len(numbers) == 2 else _STREET_FRAMES
        if not frames:
            raise UserError(f'{uri!r} has no frame: ask for at least one')
        self.frame_count = frames
        self._fps = fps or _STREET_FPS
        self.name = f'street-{self._seed}'
        self.label_set = DRIVING

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Generate from the first frame."""
        # The street is a large module that only this source needs.
        from vseg_ros.io.street import SyntheticStreet

        for item in SyntheticStreet(self._seed, self.frame_count, fps=self._fps):
            yield LabelledFrame(item.frame, item.labels)


def detect_format(source: str | Path) -> Format:
    """
    Tell what kind of source a path or `street:` URI is.

    Raises:
        UserError: nothing stands there.

    """
    if str(source).startswith(_STREET):
        return 'street'
    path = Path(source)
    if not path.exists():
        raise UserError(f'there is no {path}: check the path, or write street:SEED for the '
                        'synthetic street')
    if path.is_dir():
        bag = (path / 'metadata.yaml').exists() or any(
            item.suffix in BAG_SUFFIXES for item in path.iterdir())
        return 'bag' if bag else 'images'
    return 'bag' if path.suffix in (*BAG_SUFFIXES, '.bag') else 'video'


def open_sources(source: str | Path, *, topic: str | None = None, labels: str | None = None,
                 fps: float | None = None, format: Format = 'auto', with_labels: bool = True,
                 skipped: SkippedImages | None = None) -> list[FrameSource]:
    """
    Open the videos of a source: one, or for a data set one a sequence.

    Args:
        source: path of a bag, video or folder, or `street:SEED[:FRAMES]`.
        topic: a bag's camera topic; needed if there are several.
        labels: a bag's label topic, or for images the folder of label images.
        fps: frames a second, where the source has no times of its own or others are wanted.
        format: what the source is; `auto` looks.
        with_labels: False leaves a bag's label images alone, for who does not use them.
        skipped: counts the images of a bag that cannot be decoded and are therefore left out; by
            default such an image is an error.

    Raises:
        UserError: it is missing, damaged, or not of that format; or an option that a source of
            this format does not have.

    """
    kind = detect_format(source) if format == 'auto' else format
    if fps is not None and fps <= 0:
        raise UserError(f'{fps} frames a second are impossible: give a rate above 0')
    _refuse_option(kind, 'topic', topic, ('bag',))
    _refuse_option(kind, 'labels', labels, ('bag', 'images'))
    _refuse_option(kind, 'fps', fps, ('video', 'images', 'camvid11', 'street'))
    if kind == 'bag':
        return [BagSource(source, topic, labels, with_labels, skipped)]
    if kind == 'images':
        return [ImageFolder(source, labels, fps=fps)]
    if kind == 'camvid11':
        return list(camvid11_sources(source, fps))
    if kind == 'street':
        return [StreetSource(str(source), fps)]
    return [VideoFile(source, fps)]


def _refuse_option(kind: str, option: str, value: object, kinds: tuple[str, ...]) -> None:
    if value is not None and kind not in kinds:
        raise UserError(f'--{option} does not apply to a source of format {kind}, only to '
                        f'{", ".join(kinds)}: leave it away')


def open_source(source: str | Path, *, topic: str | None = None, labels: str | None = None,
                fps: float | None = None, format: Format = 'auto', with_labels: bool = True,
                skipped: SkippedImages | None = None) -> FrameSource:
    """
    Open a source that is one video; arguments and errors as for `open_sources`.

    Raises:
        UserError: also if the source holds several videos.

    """
    sources = open_sources(source, topic=topic, labels=labels, fps=fps, format=format,
                           with_labels=with_labels, skipped=skipped)
    if len(sources) > 1:
        raise UserError(f'{source} holds {len(sources)} videos '
                        f'({", ".join(item.name for item in sources)}): give one of them')
    return sources[0]
