"""
What a segmentation node publishes for each frame, with the header of the frame.

~/segmentation, ~/confidence and ~/overlay are laid out and sent only while someone listens, and
only while the node is active. ~/label_info is latched: who comes late still learns the names.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSPolicyKind
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import LabelSet
from vseg_ros.nodes.conversions import (
    confidence_pixels,
    header_of,
    image_message,
    label_info_message,
)
from vseg_ros.nodes.qos import latched_profile, output_profile

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_IMAGE_TOPICS = ('~/segmentation', '~/confidence', '~/overlay')
_OVERRIDABLE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY)


class Outputs:
    """
    The publishers of a segmentation node.

    Args:
        node: the publisher; their QoS can be overridden by its parameters.
        label_set: classes of the segmentations.

    """

    def __init__(self, node: LifecycleNode, label_set: LabelSet) -> None:
        self._node = node
        self._label_set = label_set
        self._images = {topic: node.create_lifecycle_publisher(
            Image, topic, output_profile(),
            qos_overriding_options=QoSOverridingOptions(_OVERRIDABLE))
            for topic in _IMAGE_TOPICS}
        self._label_info = node.create_publisher(LabelInfo, '~/label_info', latched_profile())
        self._frame_id = ''
        self._publish_names(Header())

    def publish(self, frame: Frame, segmentation: Segmentation) -> None:
        """
        Publish the results of one frame; one thread at a time may call.

        Args:
            frame: the image.
            segmentation: of that frame.

        """
        labels = segmentation.labels
        header = header_of(segmentation.stamp, segmentation.frame_id)
        if segmentation.frame_id != self._frame_id:
            self._frame_id = segmentation.frame_id
            self._publish_names(header)
        self._send('~/segmentation', 'mono8' if labels.dtype == np.uint8 else 'mono16', header,
                   lambda: labels)
        self._send('~/confidence', 'mono8', header,
                   lambda: confidence_pixels(segmentation.confidence))
        self._send('~/overlay', 'rgb8', header,
                   lambda: segmentation.label_set.overlay(frame.image, labels))

    def destroy(self) -> None:
        """Take the topics away; nothing may be published afterwards."""
        for publisher in self._images.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._node.destroy_publisher(self._label_info)

    def _publish_names(self, header: Header) -> None:
        self._label_info.publish(label_info_message(self._label_set, header))

    def _send(self, topic: str, encoding: str, header: Header,
              render: Callable[[], Pixels]) -> None:
        publisher = self._images[topic]
        if publisher.is_activated and publisher.get_subscription_count():
            publisher.publish(image_message(render(), encoding, header))
