"""
Replay a bag into a segmentation node, with the bag's time, and record what it publishes.

Ends by itself when the bag does. Frames that come faster than the node computes are dropped, as
on a robot; `vseg replay` is the offline command that takes every frame.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction

from vseg_ros.nodes import bringup
from vseg_ros.nodes.bag_replay import BagReplay, fail, find_camera

_OUTPUTS = ('segmentation', 'confidence', 'label_info', 'status')


def _rate(context: LaunchContext) -> float:
    text = bringup.value(context, 'rate')
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    return rate if rate > 0 else fail(f'rate:={text}: write a number above 0')


def _replay(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    pipeline = bringup.value(context, 'pipeline')
    bag, out = (Path(bringup.value(context, name)).expanduser() for name in ('bag', 'out'))
    camera = find_camera(bag, bringup.value(context, 'image'))
    node = bringup.camera_node(
        context, pipeline, camera.topic, camera.compressed,
        given={'use_sim_time': True, 'autostart': True}, optional=['adapted_weights', 'mode'])
    name = bringup.node_name(context, pipeline)
    outputs = [f'{name}/{output}' for output in _OUTPUTS]
    if bringup.flag(context, 'overlay'):
        outputs.append(f'{name}/overlay')
    if bringup.flag(context, 'camera'):
        outputs.append(camera.topic)
    return BagReplay(context, node, name, camera, out, [*outputs, '/diagnostics'],
                     _rate(context)).actions()


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    return bringup.launch_description([
        DeclareLaunchArgument('bag', description='The bag to replay, a folder or a file.'),
        DeclareLaunchArgument(
            'out', description='The bag to write, a folder that does not exist yet: the labels, '
            'confidence, names of the classes, status and /diagnostics.'),
        DeclareLaunchArgument(
            'image', default_value='/camera/image',
            description="The camera's topic in the bag; compressed images are found by "
            'themselves. Nothing else of the bag is played.'),
        DeclareLaunchArgument(
            'rate', default_value='1.0',
            description='Speed of the replay; below 1.0 fewer frames are dropped.'),
        bringup.switch('overlay', False, 'Record the overlay as well: large, rgb8.'),
        bringup.switch('camera', False, "Record the camera's images as well, so that the output "
                       'shows everything by itself.'),
        bringup.pipeline_argument(),
        *bringup.model_arguments(),
        bringup.adapted_weights_argument(),
        bringup.mode_argument(),
        OpaqueFunction(function=_replay),
    ])
