"""Videos by the name of their format: what `io` reads and what `datasets` reads, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from vseg_ros.class_maps import find_class_map
from vseg_ros.datasets.formats import open_dataset
from vseg_ros.datasets.relabelled import RelabelledSource
from vseg_ros.errors import UserError
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.io.source import Format, open_sources
from vseg_ros.settings import PipelineSettings, SegmenterSettings

SourceFormat = Literal['auto', 'bag', 'video', 'images', 'street', 'camvid11', 'camvid',
                       'cityscapes', 'kitti360', 'apolloscape', 'vspw', 'ade20k']


def open_videos(source: str, format: SourceFormat = 'auto', *, split: str | None = None,
                topic: str | None = None, labels: str | None = None,
                classes: str = '') -> list[FrameSource]:
    """
    Open the videos of a source.

    Args:
        source: path, or `street:SEED[:FRAMES]`.
        format: what it is; `auto` looks, and never finds a data set.
        split: train, val or test of a data set.
        topic: a bag's camera topic.
        labels: a bag's label topic, or for images the folder of label images.
        classes: name of a class map whose target classes the labels are wanted in; empty for
            those that the source has.

    Raises:
        UserError: it is missing, damaged or of another format, an option does not apply, or
            there is no such class map or one for other labels.

    """
    if format in ('camvid', 'cityscapes', 'kitti360', 'apolloscape', 'vspw', 'ade20k'):
        for option, value in (('topic', topic), ('labels', labels)):
            if value is not None:
                raise UserError(f'--{option} does not apply to a source of format {format}: '
                                'leave it away')
        return list(open_dataset(source, format, split, classes))
    if split is not None:
        raise UserError('--split applies to camvid, cityscapes, kitti360, apolloscape, vspw and '
                        f'ade20k, not to a source of format {format}: leave it away')
    videos = open_sources(source, topic=topic, labels=labels, format=cast(Format, format))
    if not classes:
        return videos
    return [RelabelledSource(video, find_class_map(classes)) for video in videos]


def classes_of(settings: Mapping[str, PipelineSettings]) -> str:
    """
    Return the class map that pipelines speak, for the labels that they are scored against.

    Raises:
        UserError: they speak different ones.

    """
    found = dict.fromkeys(each.classes for each in settings.values()
                          if isinstance(each, SegmenterSettings) and each.classes)
    if len(found) > 1:
        raise UserError(f'pipelines that speak different classes ({", ".join(found)}) cannot be '
                        'scored on the same labels: give them one by one')
    return next(iter(found), '')
