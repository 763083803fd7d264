"""The node `ditta` under test: in this process, or as a process of its own, small and fast."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
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
SIZE = 96, 128


@pytest.fixture(scope='session')
def street() -> list[Image]:
    """Pictures of a drive, uint8 [H, W, 3] RGB."""
    return [each.frame.image for each in SyntheticStreet(seed=1, frames=8, size=SIZE)]


class Camera:
    """Publishes pictures whose stamps are 1, 2, 3 … tenths of a second."""

    def __init__(self, ros: Any, street: Sequence[Image], **qos: Any) -> None:
        from sensor_msgs.msg import Image as ImageMessage

        from vseg_ros.nodes.qos import output_profile
        self._street = street
        self._ros = ros
        self._profile = output_profile()
        for name, value in qos.items():
            setattr(self._profile, name, value)
        self.node = ros.node('camera')
        self.publisher = self.node.create_publisher(ImageMessage, '/image', self._profile)
        self.sent = 0

    def send(self) -> int:
        """Publish the next picture; return its stamp in ns."""
        from vseg_ros.nodes.conversions import header_of, image_message
        self.sent += 1
        stamp = self.sent * 100_000_000
        self.publisher.publish(image_message(
            self._street[self.sent % len(self._street)], 'rgb8', header_of(stamp, 'lens')))
        return stamp

    def film_until(self, condition: Callable[[], object], timeout: float = 60) -> None:
        """Send ten pictures a second until the condition holds."""
        self._ros.until(lambda: self.publisher.get_subscription_count() > 0)
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, 'nothing happened in time'
            self.send()
            with contextlib.suppress(AssertionError):
                self._ros.until(condition, 0.1)


class Ears:
    """What the node says on its topics."""

    def __init__(self, ros: Any) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import Image as ImageMessage

        from vseg_ros.msg import PipelineStatus
        from vseg_ros.nodes.qos import latched_profile, output_profile
        node = ros.node('ears')
        self.statuses: list[Any] = []
        self.segmentations: list[Any] = []
        self.diagnostics: list[Any] = []
        node.create_subscription(PipelineStatus, '/ditta/status', self.statuses.append,
                                 latched_profile())
        node.create_subscription(ImageMessage, '/ditta/segmentation', self.segmentations.append,
                                 output_profile())
        node.create_subscription(DiagnosticArray, '/diagnostics', self.diagnostics.append,
                                 output_profile())

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


class Process:
    """The node as a program."""

    def __init__(self, ros: Any, log: Path, parameters: dict[str, Any],
                 arguments: Sequence[str]) -> None:
        self._ros = ros
        self._log = log
        self._client = ros.node('client')
        command = [program(), '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={str(value).lower() if value in (True, False) else value}']
        with log.open('w') as file:
            self.process = subprocess.Popen([*command, *arguments], stdout=file, stderr=file)

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text()

    def request(self, kind: type[Any], name: str, **fields: Any) -> Any:
        """Call a service of the node; return the future of its answer."""
        client = self._client.create_client(kind, f'/ditta/{name}')
        self._ros.until(client.service_is_ready)
        return client.call_async(kind.Request(**fields))

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
        """Send a signal; return the exit code and the seconds until the end."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(timeout), time.monotonic() - began


def program() -> str:
    """Return the path of the program `ditta`."""
    from ament_index_python.packages import get_package_prefix
    return os.path.join(get_package_prefix('vseg_ros'), 'lib', 'vseg_ros', 'ditta')


@pytest.fixture
def camera(ros: Any, street: list[Image]) -> Camera:
    """A camera on /image."""
    return Camera(ros, street)


@pytest.fixture
def ears(ros: Any) -> Ears:
    """Subscriptions to the outputs of a node in the root namespace."""
    return Ears(ros)


@pytest.fixture
def start(ros: Any, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Function of parameters and more arguments: the node as a process."""
    made: list[Process] = []

    def make(parameters: dict[str, Any] | None = None, *arguments: str) -> Process:
        made.append(Process(ros, tmp_path / f'log{len(made)}', {**SMALL, **(parameters or {})},
                            arguments))
        return made[-1]
    yield make
    for each in made:
        each.process.kill()
        each.process.wait()


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
