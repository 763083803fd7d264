"""
ROS 2 messages without ROS: their types, and builders for those this package writes.

The types are those of Jazzy, plus vision_msgs/LabelInfo, which is no part of a ROS core
installation. Messages are rosbags' dataclasses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vseg_ros.frame import UInt8Array
from vseg_ros.io.image_message import encode_image
from vseg_ros.labels import DRIVING, LabelSet

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
LABEL_INFO = 'vision_msgs/msg/LabelInfo'
DIAGNOSTICS = 'diagnostic_msgs/msg/DiagnosticArray'

_SECOND = 1_000_000_000
# The order of these fields is the wire format.
_VISION_CLASS = 'uint16 class_id\nstring class_name\n'
_LABEL_INFO = ('std_msgs/Header header\nvision_msgs/VisionClass[] class_map\n'
               'float32 threshold\n')

TYPES = get_typestore(Stores.ROS2_JAZZY)
TYPES.register({
    **get_types_from_msg(_VISION_CLASS, 'vision_msgs/msg/VisionClass'),
    **get_types_from_msg(_LABEL_INFO, LABEL_INFO)})

_FOREVER = QosTime(9223372036, 854775807)


def _qos(durability: QosDurability, depth: int) -> tuple[Qos, ...]:
    return (Qos(QosHistory.KEEP_LAST, depth, QosReliability.RELIABLE, durability, _FOREVER,
                _FOREVER, QosLiveliness.AUTOMATIC, _FOREVER, False),)


VOLATILE = _qos(QosDurability.VOLATILE, 10)
LATCHED = _qos(QosDurability.TRANSIENT_LOCAL, 1)


def make(message_type: str, **fields: Any) -> Any:
    """Build a message from its fields."""
    return TYPES.types[message_type](**fields)


def header(stamp: int, frame_id: str) -> Any:
    """Build a std_msgs/Header; `stamp` in nanoseconds."""
    seconds, nanoseconds = divmod(stamp, _SECOND)
    time = make('builtin_interfaces/msg/Time', sec=seconds, nanosec=nanoseconds)
    return make('std_msgs/msg/Header', stamp=time, frame_id=frame_id)


def stamp_of(message: Any) -> int:
    """Return the header's stamp in nanoseconds."""
    return int(message.header.stamp.sec) * _SECOND + int(message.header.stamp.nanosec)


def image_message(array: NDArray[np.uint8] | NDArray[np.uint16], encoding: str, stamp: int,
                  frame_id: str) -> Any:
    """Build a sensor_msgs/Image; arrays and encodings as for `encode_image`."""
    fields = encode_image(array, encoding)._asdict()
    return make(IMAGE, header=header(stamp, frame_id), is_bigendian=0, **fields)


def jpeg_message(image: UInt8Array, stamp: int, frame_id: str, quality: int = 95) -> Any:
    """
    Build a sensor_msgs/CompressedImage.

    Args:
        image: uint8 [H, W, 3], RGB.
        stamp: nanoseconds.
        frame_id: name of the camera's coordinate frame.
        quality: of the JPEG, 1..100.

    """
    bgr = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return make(COMPRESSED_IMAGE, header=header(stamp, frame_id),
                format='rgb8; jpeg compressed bgr8', data=data.reshape(-1))


def label_info_message(label_set: LabelSet, stamp: int, frame_id: str) -> Any:
    """Build a vision_msgs/LabelInfo with the names of all classes."""
    classes = [make('vision_msgs/msg/VisionClass', class_id=index, class_name=name)
               for index, name in enumerate(label_set.names)]
    return make(LABEL_INFO, header=header(stamp, frame_id), class_map=classes, threshold=0.0)


def label_set_of(message: Any) -> LabelSet | None:
    """
    Read the classes of a vision_msgs/LabelInfo.

    Returns:
        The driving classes themselves if the names are theirs; an id without a name is called
        `class ID`. None if there is no class. 255 and 65535 are the unlabelled pixels' ids.

    """
    names = {int(item.class_id): str(item.class_name) for item in message.class_map
             if item.class_id not in (255, 65535)}
    if not names:
        return None
    ordered = tuple(names.get(index, f'class {index}') for index in range(max(names) + 1))
    return DRIVING if ordered == DRIVING.names else LabelSet.from_names(ordered)


def diagnostics_message(stamp: int, frame_id: str, name: str, level: int, text: str,
                        values: Mapping[str, object]) -> Any:
    """
    Build a diagnostic_msgs/DiagnosticArray with one status.

    Args:
        stamp: nanoseconds.
        frame_id: of the frame that the status belongs to.
        name: of the node.
        level: 0 ok, 1 warning, 2 error, 3 stale.
        text: one line on the state.
        values: whatever is worth showing; values become text.

    """
    pairs = [make('diagnostic_msgs/msg/KeyValue', key=key, value=str(value))
             for key, value in values.items()]
    status = make('diagnostic_msgs/msg/DiagnosticStatus', level=level, name=name, message=text,
                  hardware_id='', values=pairs)
    return make(DIAGNOSTICS, header=header(stamp, frame_id), status=[status])
