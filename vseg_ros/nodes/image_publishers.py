"""
The image topics of a node: laid out and sent only while someone listens.

They are managed: nothing is sent while the node is not active. Their QoS can be overridden by the
node's parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSPolicyKind
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vseg_ros.nodes.conversions import image_message
from vseg_ros.nodes.qos import output_profile

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_OVERRIDABLE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY)


class ImagePublishers:
    """
    Publishers of sensor_msgs/Image.

    Args:
        node: the publisher.
        topics: their names.

    """

    def __init__(self, node: LifecycleNode, topics: Sequence[str]) -> None:
        self._node = node
        self._publishers = {topic: node.create_lifecycle_publisher(
            Image, topic, output_profile(),
            qos_overriding_options=QoSOverridingOptions(_OVERRIDABLE)) for topic in topics}

    def send(self, topic: str, encoding: str, header: Header,
             render: Callable[[], Pixels]) -> None:
        """
        Publish an image if the node is active and someone listens.

        Args:
            topic: one of the names.
            encoding: rgb8, mono8 or mono16.
            header: of the frame that the image belongs to.
            render: makes the pixels, as `image_message` takes them.

        """
        publisher = self._publishers[topic]
        if publisher.is_activated and publisher.get_subscription_count():
            publisher.publish(image_message(render(), encoding, header))

    def destroy(self) -> None:
        """Take the topics away; nothing may be published afterwards."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
