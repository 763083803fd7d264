"""
Frames and labels of a bag.

Images are decoded one by one while the bag is read. Label images are read through a second
handle that runs beside the first, and are matched by header stamp, so that memory holds one frame
and one label image whatever the length of the bag.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, LabelArray
from vseg_ros.io.bag_file import BagFile, RawMessage
from vseg_ros.io.bag_topics import image_topic, label_info_topic, label_topic, topics_of
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.io.header_stamps import Stamped, stamped
from vseg_ros.io.image_message import decode_compressed, decode_image, decode_labels
from vseg_ros.io.message_types import IMAGE, TYPES, label_set_of
from vseg_ros.io.skipped_images import SkippedImages
from vseg_ros.labels import LabelSet

_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'


def deserialize(path: Path, message: RawMessage) -> Any:
    """
    Turn CDR bytes into a message of a type that `TYPES` knows.

    Raises:
        UserError: the bytes are damaged.

    """
    topic = message.connection.topic
    if message.data[:4] == _ZSTD_MAGIC:
        raise UserError(f'the messages on {topic} in {path} are compressed one by one: give the '
                        'bag folder with its metadata.yaml')
    try:
        return TYPES.deserialize_cdr(message.data, message.connection.msgtype)
    # The bytes can fail any assumption of the deserializer, so there is no narrower type.
    except Exception as error:
        raise UserError(f'a message on {topic} in the bag {path} is damaged (received at '
                        f'{message.log_time} ns): record it again') from error


class BagReader:
    """
    A bag's camera, and its labels if there are any.

    Args:
        path: bag folder, or bare .mcap or .db3 file.
        topic: the camera's topic; needed if there are several.
        labels: topic of the label images; by default the one that ends with /labels.
        with_labels: False looks for none, so that nothing about them can be wrong.

    Attributes:
        path: bag folder, or bare .mcap or .db3 file.
        topic: the camera's topic.
        frame_count: messages on it.
        labels_topic: topic of the label images, or None.
        label_set: names from the LabelInfo beside the label images, or None.

    Raises:
        UserError: on entering, if the bag is missing or damaged or a topic cannot be chosen; the
            iterators also for damage and undecodable images met on the way.

    """

    def __init__(self, path: str | Path, topic: str | None = None,
                 labels: str | None = None, with_labels: bool = True) -> None:
        self.path = Path(path)
        self._wanted, self._with_labels = (topic, labels), with_labels
        self._bag = BagFile(self.path)
        self.topic = ''
        self.frame_count = 0
        self.labels_topic: str | None = None
        self.label_set: LabelSet | None = None

    def __enter__(self) -> BagReader:
        """Open the bag and choose its topics."""
        self._bag.__enter__()
        try:
            self._choose_topics()
        except BaseException:
            self._bag.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the bag."""
        self._bag.__exit__(None, None, None)

    def _choose_topics(self) -> None:
        topics = topics_of(self._bag.connections)
        camera = image_topic(self.path, topics, self._wanted[0])
        self.topic, self.frame_count = camera.name, camera.count
        labels = (label_topic(self.path, topics, camera.name, self._wanted[1])
                  if self._with_labels else None)
        if labels is None:
            return
        self.labels_topic = labels.name
        info = label_info_topic(topics, labels.name)
        for message in self.messages(info.name) if info else ():
            self.label_set = label_set_of(deserialize(self.path, message))
            break

    @property
    def connections(self) -> list[Connection]:
        """What was recorded, a topic's publishers apart."""
        return self._bag.connections

    def messages(self, *topics: str) -> Iterator[RawMessage]:
        """Read serialized messages in order of receive time, of some topics or of all."""
        return self._bag.messages(topics)

    def frames(self, skipped: SkippedImages | None = None) -> Iterator[Frame]:
        """
        Read the camera's images, in order of receive time.

        Args:
            skipped: where images that cannot be decoded are counted and left out.

        Raises:
            UserError: an image cannot be decoded and `skipped` is None, or none can be.

        """
        count = 0
        for taken in self._stamped(self._bag, self.topic, skipped):
            frame = self._frame(taken, skipped)
            if frame is not None:
                yield frame
                count += 1
        if not count:
            self._refuse_emptiness(skipped)

    def _refuse_emptiness(self, skipped: SkippedImages | None) -> None:
        if skipped is not None and skipped.count:
            raise UserError(f'none of the {skipped.count} images on {self.topic} in {self.path} '
                            f'can be decoded; the first: {skipped.first}')
        # The index can promise messages that the reader then does not find.
        raise UserError(f'the bag {self.path} promises {self.frame_count} messages on '
                        f'{self.topic} but holds none: repair it with "ros2 bag reindex" or '
                        '"mcap recover"')

    def labelled_frames(self, skipped: SkippedImages | None = None) -> Iterator[LabelledFrame]:
        """
        Read the camera's images with the label image of the same stamp, where there is one.

        Args:
            skipped: as for `frames`; a label image is never left out.

        Raises:
            UserError: also if a label image's size differs from its frame's.

        """
        if self.labels_topic is None:
            yield from map(LabelledFrame, self.frames(skipped))
            return
        with BagFile(self.path) as bag:
            labels = self._labels(bag, self.labels_topic)
            pending = next(labels, None)
            for frame in self.frames(skipped):
                while pending is not None and pending[0] < frame.stamp:
                    pending = next(labels, None)
                matched = pending is not None and pending[0] == frame.stamp
                yield self._pair(frame, pending[1] if pending and matched else None)

    def _pair(self, frame: Frame, labels: LabelArray | None) -> LabelledFrame:
        if labels is not None and labels.shape != frame.size:
            raise UserError(
                f'the labels on {self.labels_topic} are {labels.shape[1]}x{labels.shape[0]}, the '
                f'image on {self.topic} is {frame.size[1]}x{frame.size[0]} (stamp {frame.stamp} '
                'ns): label images need the size of their frame')
        return LabelledFrame(frame, labels)

    def _stamped(self, bag: BagFile, topic: str,
                 skipped: SkippedImages | None = None) -> Iterator[Stamped]:
        return stamped(self._deserialized(bag, topic, skipped))

    def _deserialized(self, bag: BagFile, topic: str, skipped: SkippedImages | None,
                      ) -> Iterator[tuple[Any, RawMessage]]:
        for raw in bag.messages((topic,)):
            try:
                message = deserialize(self.path, raw)
            except UserError as error:
                if skipped is None:
                    raise
                skipped.add(error)
            else:
                yield message, raw

    def _frame(self, taken: Stamped, skipped: SkippedImages | None) -> Frame | None:
        message, raw, stamp = taken
        try:
            if raw.connection.msgtype == IMAGE:
                image = decode_image(message.encoding, message.height, message.width,
                                     message.step, message.is_bigendian, message.data)
            else:
                image = decode_compressed(message.format, message.data)
        except UserError as error:
            located = self._located(raw, error)
            if skipped is None:
                raise located from error
            skipped.add(located)
            return None
        return Frame(image, stamp, message.header.frame_id)

    def _labels(self, bag: BagFile, topic: str) -> Iterator[tuple[int, LabelArray]]:
        """Read label images with their stamps."""
        for message, raw, stamp in self._stamped(bag, topic):
            try:
                labels = decode_labels(message.encoding, message.height, message.width,
                                       message.step, message.is_bigendian, message.data)
            except UserError as error:
                raise self._located(raw, error) from error
            yield stamp, labels

    def _located(self, raw: RawMessage, error: UserError) -> UserError:
        return UserError(f'{error} (topic {raw.connection.topic}, received at {raw.log_time} ns, '
                         f'in {self.path})')
