"""A node at work without a camera: a synthetic street, and RViz if there is a screen."""

import os

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from vseg_ros.nodes import bringup

# Name, default, type and meaning of the street camera's parameters that can be set here.
_CAMERA = (
    ('width', '640', int, 'Width of the pictures in pixels, 32 to 4096.'),
    ('height', '360', int, 'Height of the pictures in pixels, 32 to 4096.'),
    ('fps', '10.0', float, 'Pictures a second, 0.1 to 1000.'),
    ('seed', '0', int, 'Which street: every seed is another, with other weather and light.'),
)
_FORWARDED = ('params_file', 'namespace', 'device', 'weights', 'log_level', 'compressed')

# Views that are not named as their node is.
_VIEWS = {'ditta': 'vseg'}
# What the views show of a node, there as if it were in the default namespace.
_SHOWN = ('overlay', 'segmentation', 'confidence')


def _without_rviz() -> str:
    """Say why RViz cannot be started; empty if it can."""
    if not (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
        return 'there is no display'
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        return f'rviz2 is not installed (apt install ros-{os.environ.get("ROS_DISTRO")}-rviz2)'
    return ''


def _rviz(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    choice = bringup.value(context, 'rviz')
    pipeline = bringup.value(context, 'pipeline')
    name = bringup.node_name(context, pipeline)
    reason = 'rviz:=false' if choice == 'false' else _without_rviz()
    if reason and choice != 'true':
        return [LogInfo(msg=f'No RViz: {reason}. See the node with `ros2 topic echo '
                        f'{name}/status`.')]
    view = f'{_VIEWS.get(pipeline, pipeline)}.rviz'
    config = PathJoinSubstitution([FindPackageShare(bringup.PACKAGE), 'rviz', view])
    return [Node(package='rviz2', executable='rviz2', name='rviz', arguments=['-d', config],
                 output='screen',
                 remappings=[(f'/vseg/{pipeline}/{topic}', f'{name}/{topic}')
                             for topic in _SHOWN])]


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    camera = Node(
        package=bringup.PACKAGE, executable='street_camera', name='street_camera',
        namespace='camera', output='screen',
        parameters=[{name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                     for name, _, kind, _ in _CAMERA},
                    {'compressed': ParameterValue(LaunchConfiguration('compressed'),
                                                  value_type=bool)}])
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            [ThisLaunchFileDir(), '/', LaunchConfiguration('pipeline'), '.launch.py']),
        launch_arguments=[('image', '/camera/image'),
                          *((name, LaunchConfiguration(name)) for name in _FORWARDED)])
    return bringup.launch_description([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, default, _, description in _CAMERA),
        DeclareLaunchArgument(
            'rviz', default_value='auto', choices=['auto', 'true', 'false'],
            description='Show camera, overlay, labels and confidence in RViz; auto: where there '
            'is a display and rviz2 is installed.'),
        bringup.switch('compressed', False, 'Let the node take JPEG images from the camera.'),
        bringup.pipeline_argument(),
        *bringup.model_arguments(),
        camera, node, OpaqueFunction(function=_rviz),
    ])
