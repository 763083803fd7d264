"""
The bag of a replay: the input's topics, and beside them what the node would have published.

The input is carried over while results arrive: before the results of a frame are written, the
input is copied up to that frame, so messages stand in the file nearly in order of time and a
Ctrl-C leaves a bag that ends where the work ended. Results carry the header of their image
message, and its receive time.

If the pipeline saw other pictures than the bag holds (weather was painted over them), these take
the place of the camera's, on the camera's topic: labels and overlay always lie over the image
beside them.

The overlay is a JPEG (`overlay/compressed`, the name image_transport gives it): it is for eyes
only, and raw it would be the largest topic of all by far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection

from vseg_ros.atomic import refuse_same, uninterrupted
from vseg_ros.errors import UserError
from vseg_ros.frame import BoolArray, Frame, Segmentation, UInt8Array
from vseg_ros.io.bag_file import RawMessage
from vseg_ros.io.bag_reader import BagReader, deserialize
from vseg_ros.io.bag_source import BagSource
from vseg_ros.io.bag_topics import OUTPUT_NAMESPACE
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.convert import JPEG_TOPIC
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.io.image_message import mask_pixels
from vseg_ros.io.message_types import (
    COMPRESSED_IMAGE,
    LATCHED,
    diagnostics_message,
    image_message,
    jpeg_message,
    label_info_message,
    stamp_of,
)

_OVERLAY_QUALITY = 85


class _InputCopy:
    """
    Copies a bag's messages to the output, up to one camera image after the other.

    Args:
        reader: the input.
        writer: the output.
        replaced: topics under this name are left out.
        altered: write the frames instead of the camera's messages.

    """

    def __init__(self, reader: BagReader, writer: BagWriter, replaced: str,
                 altered: bool) -> None:
        self._reader, self._writer, self._replaced = reader, writer, replaced
        self._altered = altered
        self._messages: Iterator[RawMessage] = reader.messages()
        for connection in reader.connections:
            if self._carries(connection):
                writer.declare(connection)

    def _carries(self, connection: Connection) -> bool:
        # A replayed result bag already holds this node's topics: the new ones take their place.
        return not connection.topic.startswith(self._replaced)

    def _copy(self, message: RawMessage) -> None:
        if self._carries(message.connection):
            self._writer.write_raw(message)

    def until(self, frame: Frame) -> tuple[int, int]:
        """Copy up to the frame's image; return its header stamp and receive time."""
        for message in self._messages:
            if message.connection.topic != self._reader.topic:
                self._copy(message)
                continue
            if not self._altered:
                self._copy(message)
            stamp = self._stamp(message)
            # the receive time stands for a stamp of zero, unless the clock began there
            times = (stamp,) if stamp else (stamp, message.log_time)
            if stamp is None or frame.stamp not in times:
                continue
            if self._altered:
                self._write_altered(message, frame, stamp)
            return stamp, message.log_time
        raise ValueError(f'the bag {self._reader.path} has no further image of stamp '
                         f'{frame.stamp}: results are written in the order of their frames')

    def _stamp(self, message: RawMessage) -> int | None:
        """Return the header's stamp; None if the message is damaged, of which no frame came."""
        try:
            return stamp_of(deserialize(self._reader.path, message))
        except UserError:
            return None

    def _write_altered(self, original: RawMessage, frame: Frame, stamp: int) -> None:
        compressed = original.connection.msgtype == COMPRESSED_IMAGE
        message = (jpeg_message(frame.image, stamp, frame.frame_id) if compressed
                   else image_message(frame.image, 'rgb8', stamp, frame.frame_id))
        self._writer.write(self._reader.topic, message, original.log_time)

    def rest(self) -> None:
        """Copy what is left; camera images that nobody segmented only as they are."""
        for message in self._messages:
            if not (self._altered and message.connection.topic == self._reader.topic):
                self._copy(message)


class ResultBag:
    """
    Writes results beside their input; made by `ResultBag.open`.

    Args:
        writer: the output.
        pipeline: the node's name, `ditta` for the topics /vseg/ditta/….
        reader: the open input bag, or None: then the frames are written as the camera.
        altered: whether the frames differ from the input bag's images, and replace them.

    """

    def __init__(self, writer: BagWriter, pipeline: str, reader: BagReader | None,
                 altered: bool = False) -> None:
        self._writer, self._name = writer, pipeline
        self.namespace = f'{OUTPUT_NAMESPACE}{pipeline}/'
        self._input = (None if reader is None
                       else _InputCopy(reader, writer, self.namespace, altered))
        self._header: tuple[int, str, int] | None = None

    @classmethod
    @contextmanager
    def open(cls, path: str | Path, pipeline: str, source: FrameSource,
             altered: bool = False) -> Iterator[ResultBag]:
        """
        Open the output for a `with` block and copy the rest of the input at its end.

        A Ctrl-C closes the bag with what was written so far; any other exception leaves nothing.

        Args:
            path: the output, as for `BagWriter`.
            pipeline: the node's name.
            source: where the frames come from. A bag's topics are carried over; of any other
                source the frames themselves are written, on /camera/image/compressed.
            altered: the pipeline saw something else than the source's frames, such as weather
                painted over them: what is given to `write` then replaces a bag's images, an
                Image as rgb8 and a CompressedImage as JPEG, under the same headers.

        Raises:
            UserError: the input cannot be read, the output cannot be written, or both are the
                same.

        """
        refuse_same(source.path, Path(path))
        with ExitStack() as stack:
            reader = (stack.enter_context(BagReader(source.path, source.topic,
                                                   with_labels=False))
                      if isinstance(source, BagSource) else None)
            bag = cls(stack.enter_context(BagWriter(path)), pipeline, reader, altered)
            yield bag
            if bag._input is not None:
                bag._input.rest()

    def write(self, frame: Frame, segmentation: Segmentation) -> None:
        """
        Write the results of one frame; frames come in their order, and may be left out.

        Args:
            frame: as the pipeline saw it.
            segmentation: of the same frame and size.

        """
        if segmentation.stamp != frame.stamp:
            raise ValueError(f'the segmentation is of stamp {segmentation.stamp}, the frame of '
                             f'{frame.stamp}')
        first = self._header is None
        self._go_to(frame)
        with uninterrupted():
            self._write_results(frame, segmentation, first)

    def write_mask(self, frame: Frame, mask: BoolArray, overlay: UInt8Array) -> None:
        """
        Write where an object is in one frame; frames come in their order, and may be left out.

        Args:
            frame: the image.
            mask: bool [H, W], the object.
            overlay: uint8 [H, W, 3] RGB, the frame with the answer drawn over it.

        """
        self._go_to(frame)
        with uninterrupted():
            self._put('mask', image_message, mask_pixels(mask), 'mono8')
            self._put_overlay(overlay)

    def _go_to(self, frame: Frame) -> None:
        """Write the input up to a frame, whose header and time the results then carry."""
        if self._input is None:
            stamp, log_time = frame.stamp, frame.stamp
            self._writer.write(JPEG_TOPIC, jpeg_message(frame.image, stamp, frame.frame_id),
                               log_time)
        else:
            stamp, log_time = self._input.until(frame)
        self._header = stamp, frame.frame_id, log_time

    def _write_results(self, frame: Frame, segmentation: Segmentation, first: bool) -> None:
        labels, label_set = segmentation.labels, segmentation.label_set
        if first:
            self._put('label_info', label_info_message, label_set, latched=True)
        self._put('segmentation', image_message, labels,
                  'mono8' if labels.dtype == np.uint8 else 'mono16')
        confidence = np.rint(np.clip(segmentation.confidence, 0, 1) * 255).astype(np.uint8)
        self._put('confidence', image_message, confidence, 'mono8')
        self._put_overlay(label_set.overlay(frame.image, labels))

    def _put_overlay(self, overlay: UInt8Array) -> None:
        self._put('overlay/compressed', jpeg_message, overlay, quality=_OVERLAY_QUALITY)

    def _put(self, topic: str, build: Any, *content: Any, latched: bool = False,
             **options: int) -> None:
        assert self._header is not None
        stamp, frame_id, log_time = self._header
        message = build(*content, stamp, frame_id, **options)
        qos = {'qos': LATCHED} if latched else {}
        self._writer.write(self.namespace + topic, message, log_time, **qos)

    def write_diagnostics(self, level: int, text: str, values: Mapping[str, object]) -> None:
        """
        Write the node's state on /diagnostics, with the header of the last frame written.

        Args:
            level: 0 ok, 1 warning, 2 error.
            text: one line on the state.
            values: whatever is worth showing; values become text.

        """
        if self._header is None:
            raise ValueError('diagnostics follow the first frame, whose header they carry')
        stamp, frame_id, log_time = self._header
        message = diagnostics_message(stamp, frame_id, f'vseg/{self._name}', level, text, values)
        self._writer.write('/diagnostics', message, log_time)
