"""
The subscription to a camera, and the watch over it: silence becomes a warning that says why.

DDS says nothing when a subscription matches no publisher, so the node must.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSPolicyKind
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from vseg_ros.errors import UserError
from vseg_ros.nodes.no_image import describe_qos, why_no_image
from vseg_ros.nodes.qos import camera_profile

_SECOND = 1_000_000_000
_WARNING_PERIOD = 10 * _SECOND
_OVERRIDABLE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY,
                QoSPolicyKind.DURABILITY)


class CameraSubscription:
    """
    A subscription to the topic `image`, or to its compressed form.

    Args:
        node: the subscriber; its parameters can override the QoS.
        compressed: whether to take CompressedImage from `image/compressed`, where image_transport
            publishes it: remapping `image` moves both.
        on_image: called with each message.

    Raises:
        UserError: an override of the QoS is wrong.

    Attributes:
        topic: what is subscribed to, absolute.

    """

    def __init__(self, node: Node, compressed: bool,
                 on_image: Callable[[Image | CompressedImage], None]) -> None:
        self._node = node
        self._type = CompressedImage if compressed else Image
        self._profile = camera_profile()
        topic = node.resolve_topic_name('image') + ('/compressed' if compressed else '')
        try:
            self._subscription: Any = node.create_subscription(
                self._type, topic, on_image, self._profile,
                qos_overriding_options=QoSOverridingOptions(_OVERRIDABLE))
        except Exception as error:
            raise UserError(f'cannot subscribe to {topic}: {error}; check the parameters '
                            f'qos_overrides.{topic}.subscription') from error
        self.topic = str(self._subscription.topic_name)
        self._since = time.monotonic_ns()
        self._next_warning = 0

    def __str__(self) -> str:
        """Name the topic and what decides who is heard there."""
        return f'{self.topic} (QoS {describe_qos(self._profile)})'

    def silence(self, seconds_since_image: float) -> float:
        """Return for how many seconds this subscription has waited for an image."""
        return min(seconds_since_image, (time.monotonic_ns() - self._since) / _SECOND)

    def warn_of_silence(self, seconds: float) -> None:
        """Say what may be wrong, but not all the time."""
        now = time.monotonic_ns()
        if now < self._next_warning:
            return
        self._next_warning = now + _WARNING_PERIOD
        self._node.get_logger().warning(
            f'no image on {self} for {seconds:.0f} s: '
            + why_no_image(self._node, self.topic, self._type, self._profile))

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)
