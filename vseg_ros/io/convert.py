"""
Any source of frames -> a camera bag, as a robot would have recorded it.

The camera goes out as JPEG by default: sources are compressed video anyway, and raw 720p costs
five times the disk and twice the time. `rgb8` keeps every pixel as it was decoded. Labels never
pass through JPEG.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from vseg_ros.atomic import refuse_same
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.frame_source import FrameSource, LabelledFrame
from vseg_ros.io.message_types import (
    LATCHED,
    image_message,
    jpeg_message,
    label_info_message,
)
from vseg_ros.labels import LabelSet

RAW_TOPIC = '/camera/image'
JPEG_TOPIC = '/camera/image/compressed'
LABELS_TOPIC = '/camera/labels'
LABEL_INFO_TOPIC = '/camera/label_info'


def _write_frame(bag: BagWriter, item: LabelledFrame, encoding: str) -> None:
    frame = item.frame
    if encoding == 'jpeg':
        bag.write(JPEG_TOPIC, jpeg_message(frame.image, frame.stamp, frame.frame_id), frame.stamp)
    else:
        bag.write(RAW_TOPIC, image_message(frame.image, 'rgb8', frame.stamp, frame.frame_id),
                  frame.stamp)


def _write_labels(bag: BagWriter, item: LabelledFrame, label_set: LabelSet | None,
                  first: bool) -> None:
    frame = item.frame
    if item.labels is None:
        return
    if first and label_set is not None:
        bag.write(LABEL_INFO_TOPIC, label_info_message(label_set, frame.stamp, frame.frame_id),
                  frame.stamp, LATCHED)
    kind = 'mono8' if item.labels.dtype == np.uint8 else 'mono16'
    bag.write(LABELS_TOPIC, image_message(item.labels, kind, frame.stamp, frame.frame_id),
              frame.stamp)


def write_camera_bag(source: FrameSource, path: str | Path, *, labels: bool = True,
                     encoding: Literal['jpeg', 'rgb8'] = 'jpeg',
                     on_frame: Callable[[], None] | None = None) -> int:
    """
    Write a source as a bag.

    Args:
        source: the frames; each one's stamp is also its receive time.
        path: the bag, as for `BagWriter`.
        labels: also write the source's labels (/camera/labels) and their names
            (/camera/label_info).
        encoding: jpeg (/camera/image/compressed) or rgb8 (/camera/image).
        on_frame: called after each frame, for a progress bar.

    Returns:
        The number of frames written.

    Raises:
        UserError: the source is damaged or the bag cannot be written; nothing is left behind.

    """
    refuse_same(source.path, Path(path))
    count, labelled = 0, False
    with BagWriter(path) as bag:
        for item in source:
            _write_frame(bag, item, encoding)
            if labels:
                _write_labels(bag, item, source.label_set, first=not labelled)
                labelled = labelled or item.labels is not None
            count += 1
            if on_frame is not None:
                on_frame()
    return count
