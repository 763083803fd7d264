"""
What the node `virst` publishes: the mask of the object and the overlay, with the frame's header.

Both are made and sent only while someone listens, and only while the node is active.
"""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode

from vseg_ros.io.image_message import mask_pixels
from vseg_ros.io.mask_overlay import draw_answer
from vseg_ros.nodes.conversions import header_of
from vseg_ros.nodes.image_publishers import ImagePublishers
from vseg_ros.nodes.query_worker import Shown

_TOPICS = ('~/mask', '~/overlay')


class MaskOutputs:
    """
    The publishers of the node.

    Args:
        node: the publisher; their QoS can be overridden by its parameters.

    """

    def __init__(self, node: LifecycleNode) -> None:
        self._images = ImagePublishers(node, _TOPICS)

    def publish(self, shown: Shown) -> None:
        """Publish the mask of one frame; one thread at a time may call."""
        frame = shown.frame
        header = header_of(frame.stamp, frame.frame_id)
        self._images.send('~/mask', 'mono8', header, lambda: mask_pixels(shown.mask))
        self._images.send('~/overlay', 'rgb8', header, lambda: draw_answer(
            frame.image, shown.mask, shown.question, shown.answer))

    def destroy(self) -> None:
        """Take the topics away; nothing may be published afterwards."""
        self._images.destroy()
