"""
Run the VIRST node on a camera and bring it up: configured, then active. Then ask it.

`ros2 service call /vseg/query vseg_ros/srv/Query "{text: 'the white car', follow: true}"`.
Include it in a larger system with IncludeLaunchDescription, in a GroupAction of its own, so that
the arguments passed do not count for what is included next. Names stay relative: a pushed
namespace goes before the node's own.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import OpaqueFunction

from vseg_ros.nodes import bringup


def _node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    return [bringup.live_node(context, 'virst', [])]


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    return bringup.launch_description([
        *bringup.camera_arguments(),
        *bringup.model_arguments('virst'),
        bringup.autostart_argument(),
        OpaqueFunction(function=_node),
    ])
