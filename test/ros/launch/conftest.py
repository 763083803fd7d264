"""Launch files as a user starts them: a process of `ros2 launch`, small pictures, real nodes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.message_types import image_message, jpeg_message
from vseg_ros.io.street import SyntheticStreet

# bfloat16 runs eagerly also on a CPU: the first export of a segmenter takes half a minute.
PARAMETERS = """
/**:
  ros__parameters:
    precision: bfloat16
    device: cpu
    input_size: 96
    warmup.frames: 4
    adaptation.passes: 1
    adaptation.background: true
"""
START = 1_700_000_000_000_000_000  # ns, when the drives in the bags begin
SIZE = 96, 128
FPS = 4.0


class Launch:
    """A running `ros2 launch`."""

    def __init__(self, log: Path, file: str | Path, arguments: tuple[str, ...]) -> None:
        self._log = log
        environment = {name: value for name, value in os.environ.items()
                       if name not in ('DISPLAY', 'WAYLAND_DISPLAY')}
        environment |= {'ROS_LOG_DIR': str(log.parent / 'ros'), 'OMP_NUM_THREADS': '1',
                        'HF_HUB_OFFLINE': '1', 'PYTHONUNBUFFERED': '1'}
        where = [str(file)] if isinstance(file, Path) else ['vseg_ros', file]
        with log.open('w') as output:
            self.process = subprocess.Popen(
                ['ros2', 'launch', *where, *arguments], stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, env=environment, start_new_session=True)

    @property
    def log(self) -> str:
        """All that the launch and its nodes have said."""
        return self._log.read_text()

    def wait_for(self, pattern: str, timeout: float = 120) -> None:
        """Wait until the log has a match of a regular expression."""
        end = time.monotonic() + timeout
        while not re.search(pattern, self.log):
            assert self.process.poll() is None, f'the launch has ended:\n{self.log}'
            assert time.monotonic() < end, f'no {pattern!r}:\n{self.log}'
            time.sleep(0.2)

    def end(self, timeout: float = 60) -> int:
        """Send Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """End the launch and all that it has started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """Function of a launch file (a name in the package, or a path) and arguments: the launch."""
    made: list[Launch] = []

    def start(file: str | Path, *arguments: str) -> Launch:
        made.append(Launch(tmp_path / f'launch{len(made)}.log', file, arguments))
        return made[-1]
    yield start
    for each in made:
        each.kill()


@pytest.fixture
def params(tmp_path: Path) -> str:
    """A parameter file for a small and fast node, as a launch argument."""
    path = tmp_path / 'params.yaml'
    path.write_text(PARAMETERS)
    return f'params_file:={path}'


@pytest.fixture
def drive(tmp_path: Path) -> Callable[..., Path]:
    """Function of raw or jpeg, a start and a number of images: a bag with a camera."""
    def write(kind: str = 'raw', start: int = START, frames: int = 12) -> Path:
        path = tmp_path / f'drive_{kind}'
        with BagWriter(path) as bag:
            for item in SyntheticStreet(1, frames, SIZE, FPS):
                stamp = start + item.frame.stamp
                if kind == 'raw':
                    bag.write('/camera/image', image_message(
                        item.frame.image, 'rgb8', stamp, 'lens'), stamp)
                else:
                    bag.write('/camera/image/compressed', jpeg_message(
                        item.frame.image, stamp, 'lens'), stamp)
        return path
    return write


@pytest.fixture
def heard(ros: Any) -> Callable[..., list[Any]]:
    """Function of a type and a topic: the messages that come, in a list that grows."""
    from vseg_ros.nodes.qos import camera_profile
    node = ros.node('listener')

    def listen(kind: type[Any], topic: str) -> list[Any]:
        messages: list[Any] = []
        node.create_subscription(kind, topic, messages.append, camera_profile())
        return messages
    return listen
