"""Videos by the name of their format: what `io` reads and what `datasets` reads, in one place."""

from __future__ import annotations

from typing import Literal, cast

from vseg_ros.datasets.formats import open_dataset
from vseg_ros.errors import UserError
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.io.source import Format, open_sources

SourceFormat = Literal['auto', 'bag', 'video', 'images', 'street', 'camvid11', 'camvid',
                       'cityscapes', 'kitti360', 'apolloscape']


def open_videos(source: str, format: SourceFormat = 'auto', *, split: str | None = None,
                topic: str | None = None, labels: str | None = None) -> list[FrameSource]:
    """
    Open the videos of a source.

    Args:
        source: path, or `street:SEED[:FRAMES]`.
        format: what it is; `auto` looks, and never finds a data set.
        split: train, val or test of a data set.
        topic: a bag's camera topic.
        labels: a bag's label topic, or for images the folder of label images.

    Raises:
        UserError: it is missing, damaged or of another format, or an option does not apply.

    """
    if format in ('camvid', 'cityscapes', 'kitti360', 'apolloscape'):
        for option, value in (('topic', topic), ('labels', labels)):
            if value is not None:
                raise UserError(f'--{option} does not apply to a source of format {format}: '
                                'leave it away')
        return list(open_dataset(source, format, split))
    if split is not None:
        raise UserError('--split applies to camvid, cityscapes, kitti360 and apolloscape, not to '
                        f'a source of format {format}: leave it away')
    return open_sources(source, topic=topic, labels=labels,
                        format=cast(Format, format))
