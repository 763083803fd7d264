"""
What the launch files share: the arguments of a node with a camera, and running it.

A launch file runs in the Python of `ros2 launch`, which need not be that of the nodes: this
module imports nothing but launch, so that it works outside the virtual environment as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, GroupAction, OpaqueFunction, TimerAction
from launch.substitutions import LaunchConfiguration, TextSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = 'vseg_ros'
COMPRESSED_SUFFIX = '/compressed'
_WEIGHTS = {
    'ditta': ('segmenter', 'Image segmenter: a bundled name (driving-b0), a hub id such as '
              'nvidia/segformer-b5-finetuned-cityscapes-1024-1024, or a folder.'),
    'time2general': ('weights', 'Trained model: a bundled name (driving-t2g), or a file written '
                     'by `vseg train time2general`.'),
    'virst': ('weights', 'Trained model: a bundled name (virst-nano), a file written by `vseg '
              'train virst`, or a folder written by `vseg convert virst`.'),
}
"""For each node the parameter that the argument weights sets, and what it may be."""
_SEGMENTING = ('ditta', 'time2general')
"""Nodes that label every image by themselves, without a question."""
_POLL = 0.2  # seconds between two looks at a condition


def launch_description(actions: Iterable[Action]) -> LaunchDescription:
    """
    Describe a launch whose arguments are its own.

    The default of a declared argument is set where it is declared, and would count for every
    launch file that the same system includes after this one: the group keeps it inside.
    """
    return LaunchDescription([GroupAction(list(actions))])


def value(context: LaunchContext, argument: str) -> str:
    """Return what a launch argument is in this launch."""
    return str(LaunchConfiguration(argument).perform(context))


def flag(context: LaunchContext, argument: str) -> bool:
    """Return a launch argument whose choices are true and false."""
    return value(context, argument) == 'true'


def given_flag(context: LaunchContext, argument: str) -> bool | None:
    """Return a launch argument that may be true, false or empty; None if it is empty."""
    return flag(context, argument) if value(context, argument) else None


def node_name(context: LaunchContext, pipeline: str) -> str:
    """Return the full name of a node in the namespace of this launch, such as /vseg/ditta."""
    parts = (*value(context, 'namespace').split('/'), pipeline)
    return '/' + '/'.join(part for part in parts if part)


def switch(name: str, default: bool, description: str) -> DeclareLaunchArgument:
    """Declare an argument that is true or false."""
    return DeclareLaunchArgument(name, default_value=str(default).lower(),
                                 choices=['true', 'false'], description=description)


def parameter_switch(name: str, description: str) -> DeclareLaunchArgument:
    """Declare an argument that is true, false or, empty, what the node's parameters say."""
    return DeclareLaunchArgument(name, default_value='', choices=['', 'true', 'false'],
                                 description=description)


def pipeline_argument() -> DeclareLaunchArgument:
    """Declare which node to run, for a launch file that serves all that segment."""
    return DeclareLaunchArgument(
        'pipeline', default_value='ditta', choices=list(_SEGMENTING),
        description='Node: ditta adapts itself to the scene, time2general remembers the last '
        'frames and holds in any weather.')


def model_arguments(pipeline: str | None = None) -> list[DeclareLaunchArgument]:
    """
    Declare the arguments that say what a node computes, and where.

    Args:
        pipeline: name of the node and of its parameter file in config/; None for that of
            `pipeline_argument`, which must be declared before.

    """
    name = TextSubstitution(text=pipeline) if pipeline else LaunchConfiguration('pipeline')
    weights = _WEIGHTS[pipeline][1] if pipeline else ' '.join(
        f'{each}: {_WEIGHTS[each][1]}' for each in _SEGMENTING)
    return [
        DeclareLaunchArgument(
            'params_file',
            default_value=[FindPackageShare(PACKAGE), '/config/', name, '.yaml'],
            description='ROS 2 parameter file of the node. Start from a copy of the default, '
            'which explains every parameter.'),
        DeclareLaunchArgument(
            'namespace', default_value='vseg',
            description='Namespace of the node: its topics are /NAMESPACE/'
            f'{pipeline or "PIPELINE"}/... Two cameras take two namespaces, such as front/vseg '
            'and rear/vseg.'),
        DeclareLaunchArgument(
            'device', default_value='',
            description='Where to compute: auto, cpu, cuda or cuda:N. Empty: as in the parameter '
            'file.'),
        DeclareLaunchArgument(
            'weights', default_value='',
            description=f'{weights} Empty: as in the parameter file.'),
        DeclareLaunchArgument(
            'log_level', default_value='info',
            choices=['debug', 'info', 'warn', 'error', 'fatal'],
            description='What the node logs: this level and above.'),
    ]


def adapted_weights_argument() -> DeclareLaunchArgument:
    """Declare what the node `ditta` starts with."""
    return DeclareLaunchArgument(
        'adapted_weights', default_value='',
        description='File of what an earlier run of ditta learned: start FROZEN with it, without '
        'a warm-up. Empty: as in the parameter file.')


def mode_argument() -> DeclareLaunchArgument:
    """Declare when the node `time2general` answers."""
    return DeclareLaunchArgument(
        'mode', default_value='', choices=['', 'sliding', 'clips'],
        description='When time2general answers: every frame at once (sliding), or clip after clip '
        '(clips). Empty: as in the parameter file.')


def camera_arguments() -> list[DeclareLaunchArgument]:
    """Declare the arguments that say which camera a node listens to, and by which clock."""
    return [
        DeclareLaunchArgument(
            'image', default_value='/camera/image',
            description='Topic of the camera (sensor_msgs/Image), without the /compressed of its '
            'compressed form.'),
        parameter_switch(
            'compressed', 'Take JPEG or PNG images (sensor_msgs/CompressedImage) from '
            'IMAGE/compressed: far less to carry over a network. Empty: as image_transport in the '
            'parameter file.'),
        parameter_switch(
            'use_sim_time', 'Take the time from /clock, as with a simulator or a replayed bag. '
            'Empty: as in the parameter file.'),
    ]


def autostart_argument() -> DeclareLaunchArgument:
    """Declare whether the node is configured and activated by the launch file."""
    return parameter_switch(
        'autostart', 'Configure and activate the node by itself. Off, do it with `ros2 lifecycle '
        'set`, or leave it to a lifecycle manager. Empty: as in the parameter file, and on where '
        'that does not say.')


def existing_file(context: LaunchContext, argument: str) -> str:
    """
    Return the path in a launch argument, absolute, with ~ expanded.

    Raises:
        RuntimeError: no file is there.

    """
    path = Path(value(context, argument)).expanduser()
    if not path.is_file():
        raise RuntimeError(f'{argument}:={path}: there is no such file')
    return os.path.abspath(path)


def camera_node(context: LaunchContext, pipeline: str, image: str, compressed: bool | None,
                given: Mapping[str, bool | None], optional: Sequence[str]) -> LifecycleNode:
    """
    Make the action that runs a node, after `model_arguments(pipeline)` were declared.

    Args:
        context: of this launch.
        pipeline: name of the node and of its program.
        image: the camera's topic, with or without /compressed.
        compressed: whether to take its compressed form; None: as in the parameter file.
        given: use_sim_time and autostart; what is None or not there is as in the parameter file,
            and autostart on where nothing says otherwise.
        optional: parameters that launch arguments of their name set unless these are empty;
            device and weights are always among them.

    Raises:
        RuntimeError: the parameter file does not exist.

    """
    base = image.removesuffix(COMPRESSED_SUFFIX)
    if base != image:
        compressed = True
    texts = {_WEIGHTS[pipeline][0]: value(context, 'weights'),
             **{name: value(context, name) for name in ('device', *optional)}}
    own = {**{name: on for name, on in given.items() if on is not None},
           **({} if compressed is None else
              {'image_transport': 'compressed' if compressed else 'raw'}),
           **{name: ParameterValue(text, value_type=str) for name, text in texts.items() if text}}
    return LifecycleNode(
        package=PACKAGE, executable=pipeline, name=pipeline,
        namespace=LaunchConfiguration('namespace'), output='screen',
        # A file that launch writes of no parameters at all is none that ROS reads.
        parameters=[existing_file(context, 'params_file'), *([own] if own else [])],
        remappings=[('image', base)],
        # These stand before all that `parameters` and SetParameter add, which so replace them.
        ros_arguments=['-p', 'autostart:=true', '--log-level', LaunchConfiguration('log_level')],
        # A step of an adaptation on a slow CPU may outlast launch's own patience, 5 s.
        sigterm_timeout=LaunchConfiguration('sigterm_timeout', default='15'))


def live_node(context: LaunchContext, pipeline: str, optional: Sequence[str]) -> LifecycleNode:
    """
    Make the action that runs a node on a camera, by the arguments of its launch file.

    Call it after `model_arguments(pipeline)`, `camera_arguments` and `autostart_argument` were
    declared; everything is as for `camera_node`.
    """
    given = {name: given_flag(context, name) for name in ('use_sim_time', 'autostart')}
    return camera_node(context, pipeline, value(context, 'image'),
                       given_flag(context, 'compressed'), given, optional)


def when(condition: Callable[[], bool], then: Iterable[LaunchDescriptionEntity],
         seconds: float = inf,
         otherwise: Iterable[LaunchDescriptionEntity] = ()) -> OpaqueFunction:
    """
    Return an action that looks at a condition until it holds.

    Args:
        condition: called from the launch's event loop; must return at once.
        then: what to do when it holds.
        seconds: how long to wait for it, without end unless given.
        otherwise: what to do when it has not held by then.

    """
    def look(context: LaunchContext, left: float) -> list[LaunchDescriptionEntity]:
        if context.is_shutdown:
            return []
        if condition():
            return list(then)
        if left <= 0:
            return list(otherwise)
        return [TimerAction(period=_POLL,
                            actions=[OpaqueFunction(function=look, args=[left - _POLL])])]

    return OpaqueFunction(function=look, args=[seconds])
