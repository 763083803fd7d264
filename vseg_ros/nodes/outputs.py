"""
What a segmentation node publishes for each frame, with the header of the frame.

~/segmentation, ~/confidence and ~/overlay are laid out and sent only while someone listens, and
only while the node is active. ~/label_info is latched: who comes late still learns the names.
"""

from __future__ import annotations

import numpy as np
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import LabelSet
from vseg_ros.models.device_overlay import DrawOverlay
from vseg_ros.nodes.conversions import confidence_pixels, header_of, label_info_message
from vseg_ros.nodes.image_publishers import ImagePublishers
from vseg_ros.nodes.qos import latched_profile

_IMAGE_TOPICS = ('~/segmentation', '~/confidence', '~/overlay')


class Outputs:
    """
    The publishers of a segmentation node.

    Args:
        node: the publisher; their QoS can be overridden by its parameters.
        label_set: classes of the segmentations.
        draw_overlay: lays labels over an image; None: a processor does.

    """

    def __init__(self, node: LifecycleNode, label_set: LabelSet,
                 draw_overlay: DrawOverlay | None = None) -> None:
        self._node = node
        self._draw_overlay = draw_overlay or label_set.overlay
        self._label_set = label_set
        self._images = ImagePublishers(node, _IMAGE_TOPICS)
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
        self._images.send('~/segmentation', 'mono8' if labels.dtype == np.uint8 else 'mono16',
                          header, lambda: labels)
        self._images.send('~/confidence', 'mono8', header,
                          lambda: confidence_pixels(segmentation.confidence))
        self._images.send('~/overlay', 'rgb8', header,
                          lambda: self._draw_overlay(frame.image, labels))

    def destroy(self) -> None:
        """Take the topics away; nothing may be published afterwards."""
        self._images.destroy()
        self._node.destroy_publisher(self._label_info)

    def _publish_names(self, header: Header) -> None:
        self._label_info.publish(label_info_message(self._label_set, header))
