"""The nodes under test: in this process, or as processes of their own, small and fast."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vseg_ros.io.street import SyntheticStreet

Image = NDArray[np.uint8]

# bfloat16 runs eagerly also on a CPU: the first export of a segmenter takes half a minute.
SMALL = {'precision': 'bfloat16', 'device': 'cpu', 'input_size': 96, 'warmup.frames': 4,
         'adaptation.passes': 1, 'prompts.min_reliability': 0.3}
SMALL_TIME2GENERAL = {'precision': 'bfloat16', 'device': 'cpu', 'input_size': 96,
                      'status_period': 0.2}
SIZE = 96, 128
COLOR_VIRST = Path(__file__).parent / 'color_virst.py'


@pytest.fixture(scope='session')
def street() -> list[Image]:
    """Pictures of a drive, uint8 [H, W, 3] RGB."""
    return [each.frame.image for each in SyntheticStreet(seed=1, frames=8, size=SIZE)]


class Camera:
    """Publishes `pictures`, over and over, whose stamps are 1, 2, 3 … tenths of a second."""

    def __init__(self, ros: Any, pictures: Sequence[Image], topic: str = '/image',
                 **qos: Any) -> None:
        from vseg_ros.nodes.qos import output_profile
        self.pictures = pictures
        self._ros = ros
        self._topic = topic
        self._profile = output_profile()
        for name, value in qos.items():
            setattr(self._profile, name, value)
        self.node = ros.node('camera')
        self._start()

    def _start(self) -> None:
        from sensor_msgs.msg import Image as ImageMessage
        self.publisher = self.node.create_publisher(ImageMessage, self._topic, self._profile)
        self.sent = 0
        self._found = False

    def plug_in_again(self) -> None:
        """Be gone, and come back with a clock that begins anew."""
        self.node.destroy_publisher(self.publisher)
        self._start()

    def connect(self) -> None:
        """Wait for a node that listens, and until that has found this camera, too."""
        if self._found and self.publisher.get_subscription_count():
            return
        self._ros.until(lambda: self.publisher.get_subscription_count() > 0)
        self._ros.settle()
        self._found = True

    def send(self) -> int:
        """Publish the next picture; return its stamp in ns."""
        from vseg_ros.nodes.conversions import header_of, image_message
        self.sent += 1
        stamp = self.sent * 100_000_000
        self.publisher.publish(image_message(
            self.pictures[self.sent % len(self.pictures)], 'rgb8', header_of(stamp, 'lens')))
        return stamp

    def film_until(self, condition: Callable[[], object], timeout: float = 60) -> None:
        """Send ten pictures a second until the condition holds."""
        self.connect()
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, 'nothing happened in time'
            self.send()
            with contextlib.suppress(AssertionError):
                self._ros.until(condition, 0.1)


class Ears:
    """What the node of a namespace says on its topics."""

    def __init__(self, ros: Any, namespace: str = '', name: str = 'ditta') -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import Image as ImageMessage

        from vseg_ros.msg import PipelineStatus
        from vseg_ros.nodes.qos import latched_profile, output_profile
        node = ros.node('ears')

        def all_of(profile: Any) -> Any:
            """Keep all that comes while the test does something else: none of it may be lost."""
            profile.depth = 500
            return profile
        self.statuses: list[Any] = []
        self.segmentations: list[Any] = []
        self.diagnostics: list[Any] = []
        node.create_subscription(PipelineStatus, f'{namespace}/{name}/status',
                                 self.statuses.append, all_of(latched_profile()))
        node.create_subscription(ImageMessage, f'{namespace}/{name}/segmentation',
                                 self.segmentations.append, all_of(output_profile()))
        self.masks: list[Any] = []
        node.create_subscription(ImageMessage, f'{namespace}/{name}/mask', self.masks.append,
                                 all_of(output_profile()))
        node.create_subscription(DiagnosticArray, '/diagnostics', self.diagnostics.append,
                                 all_of(output_profile()))

    @property
    def state(self) -> str:
        """The last state heard."""
        return self.statuses[-1].state if self.statuses else ''

    @property
    def states(self) -> list[str]:
        """The states heard, without repetitions."""
        heard = [each.state for each in self.statuses]
        return [state for before, state in zip(['', *heard], heard, strict=False)
                if state != before]

    @property
    def stamps(self) -> list[int]:
        """Stamps of the label images heard, in ns."""
        from vseg_ros.nodes.conversions import stamp_of
        return [stamp_of(each.header) for each in self.segmentations]


class Process:
    """The node of a namespace as a program."""

    def __init__(self, ros: Any, log: Path, parameters: dict[str, Any],
                 arguments: Sequence[str], namespace: str, name: str = 'ditta',
                 run: Sequence[str] | None = None) -> None:
        self._ros = ros
        self._name = f'{namespace}/{name}'
        self._log = log
        self._client = ros.node('client')
        self._clients: dict[str, Any] = {}
        command = [*(run or [program(name)]), '--ros-args', '-r', f'__ns:={namespace or "/"}']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={str(value).lower() if value in (True, False) else value}']
        with log.open('w') as file:
            self.process = subprocess.Popen([*command, *arguments], stdout=file, stderr=file)

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text()

    def request(self, kind: type[Any], name: str, **fields: Any) -> Any:
        """Call a service of the node, or with an absolute name; return the answer's future."""
        from rclpy.qos import QoSProfile
        path = name if name.startswith('/') else f'{self._name}/{name}'
        if path not in self._clients:
            # As many answers may come at once as the test likes.
            self._clients[path] = self._client.create_client(
                kind, path, qos_profile=QoSProfile(depth=100))
            self._ros.find(self._clients[path])
        return self._clients[path].call_async(kind.Request(**fields))

    def call(self, kind: type[Any], name: str, **fields: Any) -> Any:
        """Call a service of the node and wait for its answer."""
        future = self.request(kind, name, **fields)
        self._ros.until(future.done, 60)
        return future.result()

    def transition(self, *names: str) -> list[bool]:
        """Ask for transitions by name; tell which succeeded."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState
        numbers = [getattr(Transition, f'TRANSITION_{name.upper()}') for name in names]
        return [bool(self.call(ChangeState, 'change_state', transition=Transition(id=number))
                     .success) for number in numbers]

    def end(self, number: int = signal.SIGINT, timeout: float = 30) -> tuple[int, float]:
        """
        Send a signal; return the exit code and the seconds until the end.

        Fails if the node did not take leave: DDS would hold it for alive for 10 s more, and what
        is asked of the next one by its name could be lost.
        """
        began = time.monotonic()
        self.process.send_signal(number)
        code, seconds = self.process.wait(timeout), time.monotonic() - began
        self._ros.until(lambda: not any(each.service_is_ready()
                                        for each in self._clients.values()), 5)
        namespace, name = self._name.rsplit('/', 1)
        self._ros.until(lambda: (name, namespace or '/') not in
                        self._client.get_node_names_and_namespaces(), 5)
        return code, seconds


def program(name: str) -> str:
    """Return the path of a node's program."""
    from ament_index_python.packages import get_package_prefix
    return os.path.join(get_package_prefix('vseg_ros'), 'lib', 'vseg_ros', name)


@pytest.fixture
def camera(ros: Any, street: list[Image]) -> Camera:
    """A camera on /image."""
    return Camera(ros, street)


@pytest.fixture
def new_camera(ros: Any) -> Callable[..., Camera]:
    """Function of pictures and a topic: another camera."""
    return lambda pictures, topic: Camera(ros, pictures, topic)


@pytest.fixture
def ears(ros: Any) -> Ears:
    """Subscriptions to the outputs of a node in the root namespace."""
    return Ears(ros)


@pytest.fixture
def new_ears(ros: Any) -> Callable[..., Ears]:
    """Function of a namespace and a name: subscriptions to the outputs of the node in it."""
    return lambda namespace='', name='ditta': Ears(ros, namespace, name)


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Return a list of processes that are ended after the test."""
    made: list[Process] = []
    yield made
    for each in made:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def start(ros: Any, tmp_path: Path, processes: list[Process]) -> Callable[..., Process]:
    """Function of parameters, more arguments and a namespace: the node as a process."""
    def make(parameters: dict[str, Any] | None = None, *arguments: str,
             namespace: str = '') -> Process:
        processes.append(Process(ros, tmp_path / f'log{len(processes)}',
                                 {**SMALL, **(parameters or {})}, arguments, namespace))
        return processes[-1]
    return make


@pytest.fixture
def start_time2general(ros: Any, tmp_path: Path, processes: list[Process],
                       tiny_time2general: Path) -> Callable[..., Process]:
    """Function of parameters: the node `time2general` as a process."""
    def make(parameters: dict[str, Any] | None = None) -> Process:
        processes.append(Process(
            ros, tmp_path / f'log{len(processes)}',
            {**SMALL_TIME2GENERAL, 'weights': tiny_time2general, **(parameters or {})}, (), '',
            'time2general'))
        return processes[-1]
    return make


@pytest.fixture
def start_virst(ros: Any, tmp_path: Path,
                processes: list[Process]) -> Callable[..., Process]:
    """Function of parameters and a namespace: the node `virst`, with a model of colours."""
    def make(parameters: dict[str, Any] | None = None, *, namespace: str = '') -> Process:
        # However busy the machine is, every image of the test's camera comes.
        camera = f'qos_overrides.{namespace}/image.subscription'
        values = {'status_period': 0.2, f'{camera}.reliability': 'reliable',
                  f'{camera}.depth': 200, **(parameters or {})}
        processes.append(Process(ros, tmp_path / f'log{len(processes)}', values, (), namespace,
                                 'virst', [sys.executable, str(COLOR_VIRST)]))
        return processes[-1]
    return make


@pytest.fixture
def new_node(ros: Any) -> Callable[..., Any]:
    """Function of parameters: the node in this process, spun with the others."""
    from rclpy.parameter import Parameter

    from vseg_ros.nodes.ditta_node import DittaNode

    def make(parameters: dict[str, Any] | None = None) -> Any:
        overrides = [Parameter(name, value=value)
                     for name, value in {**SMALL, **(parameters or {})}.items()]
        return ros.node('ditta', lambda name, **options: DittaNode(**options),
                        parameter_overrides=overrides)
    return make


@pytest.fixture
def new_time2general(ros: Any, tiny_time2general: Path) -> Callable[..., Any]:
    """Function of parameters: the node `time2general` in this process, spun with the others."""
    from rclpy.parameter import Parameter

    from vseg_ros.nodes.time2general_node import Time2GeneralNode

    def make(parameters: dict[str, Any] | None = None) -> Any:
        values = {**SMALL_TIME2GENERAL, 'weights': str(tiny_time2general), **(parameters or {})}
        return ros.node('time2general', lambda name, **options: Time2GeneralNode(**options),
                        parameter_overrides=[Parameter(name, value=value)
                                             for name, value in values.items()])
    return make


@pytest.fixture
def active(new_node: Callable[..., Any]) -> Callable[..., Any]:
    """Function of parameters: the node in this process, configured and activated."""
    def make(parameters: dict[str, Any] | None = None) -> Any:
        node = new_node(parameters)
        node.trigger_configure()
        node.trigger_activate()
        return node
    return make
