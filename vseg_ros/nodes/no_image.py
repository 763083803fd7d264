"""
Why no image arrives: what ROS knows of a topic, in a sentence that says what to do.

Nobody may publish there, or another type, or with a QoS that does not fit: DDS says nothing then.
"""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.utilities import get_rmw_implementation_identifier

from vseg_ros.nodes.receive_buffer import how_to_enlarge

_TRANSPORTS = {'sensor_msgs/msg/Image': 'raw', 'sensor_msgs/msg/CompressedImage': 'compressed'}
"""Values of image_transport, by what then arrives."""


def describe_qos(profile: QoSProfile) -> str:
    """Return the part of a QoS profile that decides who hears whom, in words."""
    words = (profile.reliability.name, profile.durability.name, f'depth {profile.depth}')
    return ', '.join(word.lower().replace('_', ' ') for word in words)


def type_name(message_type: type[Any]) -> str:
    """Return the ROS name of a message class, such as sensor_msgs/msg/Image."""
    return f'{message_type.__module__.partition(".")[0]}/msg/{message_type.__name__}'


def why_no_image(node: Node, topic: str, message_type: type[Any], profile: QoSProfile) -> str:
    """
    Say why a subscription may get nothing, and what to do about it.

    Args:
        node: the subscriber.
        topic: its topic, absolute.
        message_type: class of its messages.
        profile: QoS of its subscription.

    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return _where_images_are(node, topic, type_name(message_type))
    wanted = [each for each in publishers if each.topic_type == type_name(message_type)]
    if not wanted:
        return (f'{publishers[0].topic_type} is published there, not {type_name(message_type)}: '
                'set image_transport to what the camera sends')
    for each in wanted:
        compatible, reason = qos_check_compatible(each.qos_profile, profile)
        if compatible == QoSCompatibility.ERROR:
            return (f'the QoS of its publisher {each.node_name} ({describe_qos(each.qos_profile)})'
                    f' does not fit ({reason.strip(" ;")}): set qos_overrides.{topic}.'
                    'subscription.reliability or .durability to what it offers')
    names = ', '.join(sorted({each.node_name for each in wanted}))
    return (f'{names} could publish there, but nothing comes: is the camera running? Large images '
            'also get lost where the socket buffers are small: '
            + how_to_enlarge(get_rmw_implementation_identifier()))


def _where_images_are(node: Node, topic: str, wanted: str) -> str:
    for form in (wanted, *(each for each in _TRANSPORTS if each != wanted)):
        others = _topics_of(node, form, topic)
        if others:
            change = '' if form == wanted else f'set image_transport to {_TRANSPORTS[form]} and '
            return (f'nobody publishes there, but {form} is on {", ".join(others)}: {change}remap '
                    f'with -r image:={others[0].removesuffix("/compressed")}')
    return (f'nobody publishes there, and no other topic carries {wanted}: is the camera '
            'running, and in this ROS_DOMAIN_ID?')


def _topics_of(node: Node, type_: str, besides: str) -> list[str]:
    """Return the topics of a type but for one and the node's own."""
    own = node.get_fully_qualified_name() + '/'
    return sorted(name for name, types in node.get_topic_names_and_types()
                  if type_ in types and name != besides and not name.startswith(own))
