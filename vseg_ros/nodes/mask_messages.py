"""Mask tracks to ROS messages: the answer to a query."""

from __future__ import annotations

from array import array as byte_array
from collections.abc import Sequence

import cv2
from sensor_msgs.msg import CompressedImage, RegionOfInterest
from std_msgs.msg import Header

from vseg_ros.errors import UserError
from vseg_ros.frame import BoolArray, Frame, MaskTrack, UInt8Array
from vseg_ros.io.image_message import mask_pixels
from vseg_ros.msg import TrackedMask
from vseg_ros.nodes.conversions import header_of
from vseg_ros.srv import Query

_MASKS = {int(Query.Request.NONE): 'NONE', int(Query.Request.LAST): 'LAST',
          int(Query.Request.ALL): 'ALL'}
# Masks are flat: the least effort of zlib makes them as small as the most, several times as fast.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def check_masks(masks: int) -> int:
    """
    Return which masks a request asks for.

    Raises:
        UserError: it is none of the constants of Query.srv.

    """
    if masks not in _MASKS:
        known = ', '.join(f'{number} ({name})' for number, name in _MASKS.items())
        raise UserError(f'masks is {masks}: choose one of {known}')
    return masks


def response_of(frames: Sequence[Frame], track: MaskTrack, masks: int) -> Query.Response:
    """
    Build the answer to a query.

    Args:
        frames: what it was about.
        track: of the same frames.
        masks: NONE, LAST or ALL of Query.srv.

    """
    with_png = {int(Query.Request.NONE): range(0), int(Query.Request.ALL): range(len(frames)),
                int(Query.Request.LAST): range(len(frames) - 1, len(frames))}[masks]
    tracked = [tracked_mask(header_of(frame.stamp, frame.frame_id), track.masks[index],
                            bool(track.visible[index]), index in with_png)
               for index, frame in enumerate(frames)]
    return Query.Response(success=True, answer=track.text, score=float(track.score),
                          tracked=tracked)


def tracked_mask(header: Header, mask: BoolArray, visible: bool, png: bool) -> TrackedMask:
    """
    Build a TrackedMask.

    Args:
        header: of the frame.
        mask: bool [H, W].
        visible: whether the object is in the frame at all.
        png: whether the mask itself is wanted.

    """
    pixels = mask_pixels(mask)
    message = TrackedMask(header=header, visible=visible, area=int(cv2.countNonZero(pixels)))
    if visible:
        left, top, width, height = cv2.boundingRect(pixels)
        message.box = RegionOfInterest(x_offset=left, y_offset=top, width=width, height=height)
    if png:
        message.mask = png_message(pixels, header)
    return message


def png_message(pixels: UInt8Array, header: Header) -> CompressedImage:
    """Build a CompressedImage that holds a grey PNG; `pixels` uint8 [H, W]."""
    _, file = cv2.imencode('.png', pixels, _PNG)
    data = byte_array('B')
    data.frombytes(file.reshape(-1).data)
    return CompressedImage(header=header, format='mono8; png compressed mono8', data=data)
