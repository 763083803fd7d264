"""
Run the Time2General node on a camera and bring it up: configured, then active.

Include it in a larger system with IncludeLaunchDescription, in a GroupAction of its own, so that
the arguments passed do not count for what is included next. Names stay relative: a pushed
namespace goes before the node's own.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import OpaqueFunction

from vseg_ros.nodes import bringup


def _node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    return [bringup.live_node(context, 'time2general', ['mode'])]


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    return bringup.launch_description([
        *bringup.camera_arguments(),
        *bringup.model_arguments('time2general'),
        bringup.mode_argument(),
        bringup.autostart_argument(),
        OpaqueFunction(function=_node),
    ])
