"""
ROS messages to frames, and segmentations to ROS messages.

The pixels are read and laid out by `vseg_ros.io.image_message`, the same as for bags; here they
only move in and out of rclpy's message classes.
"""

from __future__ import annotations

from array import array as byte_array

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo, VisionClass

from vseg_ros.frame import Float32Array, Frame, UInt8Array
from vseg_ros.io.image_message import decode_compressed, decode_image, encode_image
from vseg_ros.labels import LabelSet

_SECOND = 1_000_000_000


def stamp_of(header: Header) -> int:
    """Return a header's stamp in nanoseconds."""
    return nanoseconds_of(header.stamp)


def nanoseconds_of(time: Time) -> int:
    """Return a time in nanoseconds."""
    return int(time.sec) * _SECOND + int(time.nanosec)


def header_of(stamp: int, frame_id: str) -> Header:
    """Build a header; `stamp` in nanoseconds."""
    seconds, nanoseconds = divmod(stamp, _SECOND)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def frame_of(message: Image | CompressedImage) -> Frame:
    """
    Decode a camera image.

    Args:
        message: an `Image` in one of `image_message.SUPPORTED_ENCODINGS`, or a
            `CompressedImage` that holds a JPEG or PNG file.

    Returns:
        the frame with the message's stamp and frame_id; an rgb8 image without padding is not
        copied.

    Raises:
        UserError: the image is malformed, cut short, of zero size or of an unknown encoding.

    """
    return Frame(_pixels(message), stamp_of(message.header), message.header.frame_id)


def _pixels(message: Image | CompressedImage) -> UInt8Array:
    if isinstance(message, Image):
        return decode_image(message.encoding, message.height, message.width, message.step,
                            message.is_bigendian, message.data)
    return decode_compressed(message.format, message.data)


def image_message(array: NDArray[np.uint8] | NDArray[np.uint16], encoding: str,
                  header: Header) -> Image:
    """
    Build an image message; the pixels are copied.

    Args:
        array: uint8 [H, W, 3] RGB for rgb8, uint8 [H, W] for mono8, uint16 [H, W] for mono16.
        encoding: rgb8, mono8 or mono16.
        header: of the frame that the image belongs to.

    Raises:
        ValueError: array and encoding do not fit.

    """
    fields = encode_image(array, encoding)
    # Anything but an array('B') is checked byte by byte: a third of a second for a large image.
    data = byte_array('B')
    data.frombytes(fields.data.data)
    return Image(header=header, height=fields.height, width=fields.width, encoding=encoding,
                 is_bigendian=0, step=fields.step, data=data)


def confidence_pixels(confidence: Float32Array) -> UInt8Array:
    """
    Scale a confidence map to a mono8 image.

    Args:
        confidence: float32 [H, W] in 0..1.

    Returns:
        uint8 [H, W], 255 for 1; the nearest step, and what lies outside is cut off.

    """
    # Twice as fast as any other way to scale, round and cut off, since it takes no copy between.
    return np.asarray(cv2.addWeighted(confidence, 255, confidence, 0, 0, dtype=cv2.CV_8U),
                      np.uint8)


def label_info_message(label_set: LabelSet, header: Header) -> LabelInfo:
    """Build a message with the names of all classes."""
    classes = [VisionClass(class_id=index, class_name=name)
               for index, name in enumerate(label_set.names)]
    return LabelInfo(header=header, class_map=classes, threshold=0.0)
