"""
Replays a bag into a node and records what it publishes, as launch actions.

    node active -> recorder and player start, the player paused -> all are connected -> resume
    player ends -> the node has answered every image -> recorder ends -> shutdown

The player's /clock is the time of the node and of the recording (but for a bag that begins at time
0, which ROS takes for a clock that stands still). Whatever goes wrong on the way ends the launch
with an error, and so with an exit code that is not 0.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from launch import LaunchContext, LaunchDescriptionEntity
from launch.actions import (
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import ProcessExited, SignalProcess
from launch_ros.actions import LifecycleNode
from launch_ros.ros_adapters import get_ros_node
from rosbag2_interfaces.srv import Resume
from rosbag2_py import BagMetadata, Info

from vseg_ros.msg import PipelineStatus
from vseg_ros.nodes.bringup import COMPRESSED_SUFFIX, when
from vseg_ros.nodes.qos import latched_profile

_TYPES = {'sensor_msgs/msg/Image': False, 'sensor_msgs/msg/CompressedImage': True}
_CLOCK_RATE = 100  # Hz
_CONNECT = 60.0  # seconds in which recorder and player must be connected
_SETTLE = 0.5  # seconds for the others to see what this process sees of the ROS graph
# states of a node that does not take images yet
_STARTING = (PipelineStatus.UNCONFIGURED, PipelineStatus.INACTIVE)
# and of one that will not
_ENDED = (PipelineStatus.FAILED, PipelineStatus.FINALIZED)
_DRAIN = 60.0  # seconds in which the node must have answered the last image


def fail(reason: str) -> NoReturn:
    """End the launch with an error of one line."""
    raise RuntimeError(reason)


@dataclass(frozen=True)
class BagCamera:
    """
    A camera in a bag.

    Attributes:
        bag: as `ros2 bag play` takes it.
        topic: the camera's.
        compressed: whether it is sensor_msgs/CompressedImage.
        clock: whether the bag's time can be that of a recording: it begins after 0.

    """

    bag: Path
    topic: str
    compressed: bool
    clock: bool


def find_camera(bag: Path, image: str) -> BagCamera:
    """
    Find a camera in a bag.

    Args:
        bag: a bag as `ros2 bag play` takes it.
        image: the topic, with or without /compressed.

    Raises:
        RuntimeError: there is no such bag, or no such image topic in it.

    """
    if not bag.exists():
        fail(f'bag:={bag}: there is no such bag')
    try:
        metadata = Info().read_metadata(str(bag), '')
    except RuntimeError as error:
        fail(f'bag:={bag}: no bag, or a damaged one: {" ".join(str(error).split())}')
    found = {item.topic_metadata.name: item.topic_metadata.type
             for item in metadata.topics_with_message_count
             if item.topic_metadata.type in _TYPES and item.message_count}
    for name in (image, f'{image}{COMPRESSED_SUFFIX}'):
        if name in found:
            return BagCamera(bag, name, _TYPES[found[name]], _begins_after_zero(metadata))
    fail(f'image:={image}: the bag {bag} has no images there; it has '
         f'{", ".join(sorted(found)) or "none at all"}')


def _begins_after_zero(metadata: BagMetadata) -> bool:
    start: Any = metadata.starting_time
    # Humble gives a datetime.
    return bool(start.nanoseconds if hasattr(start, 'nanoseconds') else start.timestamp())


class BagReplay:
    """
    The processes of a replay, and what each of their ends leads to.

    Args:
        context: of this launch.
        node: the segmentation node, not started yet, with use_sim_time and autostart on.
        name: its full name, such as /vseg/ditta.
        camera: what to play; nothing else of its bag is played.
        out: the folder of the bag to write.
        outputs: full names of the topics to record.
        rate: speed, 1 is that of the recording.

    Raises:
        RuntimeError: `out` exists.

    """

    def __init__(self, context: LaunchContext, node: LifecycleNode, name: str,
                 camera: BagCamera, out: Path, outputs: list[str], rate: float) -> None:
        if out.exists():
            fail(f'out:={out} exists: choose another name for the output')
        self._node, self._out, self._outputs = node, out, outputs
        self._image = camera.topic
        pattern = f'^({"|".join(re.escape(topic) for topic in outputs)})$'
        self._recorder = ExecuteProcess(
            cmd=['ros2', 'bag', 'record', *(['--use-sim-time'] if camera.clock else []),
                 '-o', str(out), '-e', pattern],
            name='record', output='screen')
        self._player = ExecuteProcess(
            cmd=['ros2', 'bag', 'play', str(camera.bag), '--topics', camera.topic,
                 '--rate', str(rate), '--clock', str(_CLOCK_RATE), '--start-paused'],
            name='play', output='screen')
        self._ros = get_ros_node(context)
        self._resume = self._ros.create_client(Resume, '/rosbag2_player/resume')
        self._status: PipelineStatus | None = None
        self._ros.create_subscription(PipelineStatus, f'{name}/status', self._on_status,
                                      latched_profile())
        self._recorded = False

    def actions(self) -> list[LaunchDescriptionEntity]:
        """Return the actions that run the replay and end the launch after it."""
        return [
            *(RegisterEventHandler(OnProcessExit(target_action=action, on_exit=handler))
              for action, handler in ((self._node, self._node_ended),
                                      (self._player, self._player_ended),
                                      (self._recorder, self._recorder_ended))),
            self._node,
            when(self._up, [OpaqueFunction(function=lambda _: self._start())]),
        ]

    def _up(self) -> bool:
        """Tell whether the node takes images, or has failed to."""
        return self._status is not None and self._status.state not in _STARTING

    def _on_status(self, status: PipelineStatus) -> None:
        self._status = status

    def _start(self) -> list[LaunchDescriptionEntity]:
        if self._status is not None and self._status.state in _ENDED:
            fail(f'{self._node.node_name} did not start: it says why above')
        resume = OpaqueFunction(function=lambda _: self._play())
        return [self._recorder, self._player,
                when(self._connected, [TimerAction(period=_SETTLE, actions=[resume])], _CONNECT,
                     [OpaqueFunction(function=lambda _: fail(
                         'bag player and recorder did not connect to the node'))])]

    def _connected(self) -> bool:
        return (self._resume.service_is_ready()
                and self._ros.count_publishers(self._image) > 0
                and all(self._ros.count_subscribers(topic) for topic in self._outputs))

    def _play(self) -> None:
        self._resume.call_async(Resume.Request())

    def _player_ended(self, event: ProcessExited,
                      context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if context.is_shutdown:
            return []
        if event.returncode:
            fail(f'ros2 bag play ended with code {event.returncode}')
        self._status = None  # what follows was said after the last image was sent
        stop = EmitEvent(event=SignalProcess(signal_number=signal.SIGINT,
                                             process_matcher=matches_action(self._recorder)))
        return [when(self._drained, [self._stop_recorder(stop)], _DRAIN,
                     [LogInfo(msg='The node has not answered the last images in time.'),
                      self._stop_recorder(stop)])]

    def _stop_recorder(self, stop: EmitEvent) -> OpaqueFunction:
        def act(_: LaunchContext) -> list[LaunchDescriptionEntity]:
            self._recorded = True
            return [stop]
        return OpaqueFunction(function=act)

    def _drained(self) -> bool:
        status = self._status
        return status is not None and status.frames_in == (
            status.frames_out + status.frames_dropped + status.frames_rejected)

    def _recorder_ended(self, event: ProcessExited,
                        context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if context.is_shutdown:
            return []
        if not self._recorded or not (self._out / 'metadata.yaml').is_file():
            fail(f'ros2 bag record ended with code {event.returncode} before the replay did')
        return [LogInfo(msg=self._summary()), Shutdown(reason='the bag was replayed')]

    def _summary(self) -> str:
        if self._status is None:
            return f'Recorded {self._out}.'
        status = self._status
        missed = status.frames_dropped + status.frames_lost
        hint = (f' {missed} came faster than the node computes: play slower with rate:=0.5, or '
                'take every frame with `vseg replay`.') if missed else ''
        return (f'Recorded {self._out}: {status.frames_out} of {status.frames_in} images '
                f'segmented, {status.frames_rejected} refused.{hint}')

    def _node_ended(self, event: ProcessExited, context: LaunchContext) -> None:
        if not context.is_shutdown:
            fail(f'{self._node.node_name} ended with code {event.returncode} during the replay')
