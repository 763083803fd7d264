"""
The node around the model: what it costs, and how old its labels are when the camera is too fast.

    python benchmarks/node.py cost [--height 720] [--width 1280] [--seconds 20]
    python benchmarks/node.py latency [--seconds 300] [--rate 24] [--input-size 360]

Needs ROS 2 and the built package (`source install/setup.bash`). `cost` runs the node with a
pipeline that has its answer ready: what remains is the node. `latency` runs the program `ditta`.
Camera and listeners are processes of their own, as on a robot.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from ament_index_python.packages import get_package_prefix
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from vseg_ros.frame import Frame, Segmentation
from vseg_ros.io.street import SyntheticStreet
from vseg_ros.labels import DRIVING
from vseg_ros.msg import PipelineStatus as StatusMessage
from vseg_ros.nodes.conversions import header_of, image_message, stamp_of
from vseg_ros.nodes.ditta_node import DittaNode
from vseg_ros.nodes.parameters import DittaNodeSettings
from vseg_ros.nodes.qos import latched_profile, output_profile
from vseg_ros.nodes.receive_buffer import ask_for_large_buffer
from vseg_ros.nodes.stream_monitor import StreamReport
from vseg_ros.pipeline import PipelineState, PipelineStatus, SegmentationPipeline

Size = tuple[int, int]

LISTENERS = ((), ('segmentation',), ('segmentation', 'confidence'), ('overlay',),
             ('segmentation', 'confidence', 'overlay'))
"""Topics that are listened to while the cost is measured, each by a process of its own."""
SETTLE = 3.0
"""Seconds before a measurement begins; the node's own figures look back as far as 5."""
WAIT = 300.0
"""Longest that anything may take to begin, in seconds."""


class Ready:
    """
    A pipeline whose answer is there before the question.

    Attributes:
        spent: CPU time of the worker's thread until the last frame, in s.

    """

    label_set = DRIVING
    status = PipelineStatus(PipelineState.FROZEN)

    def __init__(self, size: Size) -> None:
        self._labels = SyntheticStreet(0, 1, size)[0].labels
        self._confidence = np.random.default_rng(0).random(size, np.float32)
        self.spent = 0.0

    def step(self, frame: Frame) -> list[Segmentation]:
        """Answer with the same labels always."""
        self.spent = time.thread_time()
        return [Segmentation(self._labels, self._confidence, DRIVING, frame.stamp,
                             frame.frame_id)]

    def finish(self) -> list[Segmentation]:
        """Hold nothing back."""
        return []


class ReadyNode(DittaNode):
    """The node as it is, around a pipeline that takes no time."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.ready = Ready(size)

    @property
    def stream(self) -> StreamReport:
        """Figures of the last seconds."""
        return self._monitor.report(time.monotonic_ns())

    def make_pipeline(self, settings: DittaNodeSettings) -> SegmentationPipeline:
        """Load nothing."""
        return self.ready


def run_camera(size: Size, rate: float) -> None:
    """Publish pictures of the street at a steady rate, each with the stamp of its moment."""
    node = rclpy.create_node('camera')
    publisher = node.create_publisher(Image, 'image', QoSProfile(depth=1))
    messages = [image_message(item.frame.image, 'rgb8', header_of(0, 'camera'))
                for item in SyntheticStreet(0, 8, size)]
    began, index = time.monotonic(), 0
    while True:
        time.sleep(max(0.0, began + index / rate - time.monotonic()))
        message = messages[index % len(messages)]
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        index += 1


def run_listener(topic: str) -> None:
    """Receive images; print when each came and how old it was then, in seconds."""
    node = rclpy.create_node(f'{topic}_listener')

    def hear(message: Image) -> None:
        now = node.get_clock().now().nanoseconds
        print(now / 1e9, (now - stamp_of(message.header)) / 1e9, flush=True)
    node.create_subscription(Image, f'/ditta/{topic}', hear, output_profile())
    rclpy.spin(node)


@contextmanager
def process(*command: object, output: Path | None = None) -> Iterator[None]:
    """Run a program beside this one."""
    with open(output or os.devnull, 'w', encoding='utf-8') as file:
        running = subprocess.Popen([str(each) for each in command], stdout=file)
        try:
            yield
        finally:
            running.kill()
            running.wait()


def helper(*arguments: object, output: Path | None = None) -> Any:
    """Run a camera or a listener beside this process."""
    return process(sys.executable, __file__, *arguments, output=output)


def spin(executor: SingleThreadedExecutor, until: Callable[[], object]) -> None:
    """
    Let ROS work until something is true.

    Raises:
        TimeoutError: it never was.

    """
    end = time.monotonic() + WAIT
    while not until():
        if time.monotonic() > end:
            raise TimeoutError('the node does not answer: look at its log above')
        executor.spin_once(timeout_sec=0.1)


def spin_for(executor: SingleThreadedExecutor, seconds: float) -> None:
    """Let ROS work for a while."""
    end = time.monotonic() + seconds
    spin(executor, lambda: time.monotonic() > end)


def measure_cost(size: Size, seconds: float, rate: float) -> None:
    """Print the CPU time of a frame: in the worker's thread, and with the way through DDS."""
    node = ReadyNode(size)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.trigger_configure()
    node.trigger_activate()
    print(f'{size[1]}x{size[0]} at {rate:g} Hz, a model that takes no time; ms a frame\n'
          'listened to                        conversion, publishing, status   with receiving')
    with helper('camera', *size, rate):
        for topics in LISTENERS:
            with ExitStack() as listeners:
                for topic in topics:
                    listeners.enter_context(helper('listener', topic))
                spin(executor, lambda topics=topics: all(
                    node.count_subscribers(f'/ditta/{topic}') for topic in topics)
                    and node.stream.frames_out)
                spin_for(executor, SETTLE)
                frames, worker, process_ = (
                    node.stream.frames_out, node.ready.spent, time.process_time())
                spin_for(executor, seconds)
                frames = node.stream.frames_out - frames
                worker, process_ = (
                    each / frames * 1e3 for each in (
                        node.ready.spent - worker, time.process_time() - process_))
                print(f'{", ".join(topics) or "nothing":35}{worker:30.2f}{process_:17.2f}   '
                      f'({frames} frames, {node.stream.frames_dropped} dropped)')
            spin(executor, lambda topics=topics: not any(
                node.count_subscribers(f'/ditta/{topic}') for topic in topics))
    node.destroy_node()


def change_state(executor: SingleThreadedExecutor, node: Node, *transitions: int) -> None:
    """Take the program `ditta` through transitions."""
    client = node.create_client(ChangeState, '/ditta/change_state')
    spin(executor, client.service_is_ready)
    for transition in transitions:
        answer = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        spin(executor, answer.done)
        if not answer.result().success:
            sys.exit('the node could not be configured: look at its log above')


def measure_latency(size: Size, seconds: float, rate: float, input_size: int) -> None:
    """Print how old masks are when they arrive, while the camera is faster than the model."""
    node = rclpy.create_node('latency')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    heard: list[StatusMessage] = []
    node.create_subscription(StatusMessage, '/ditta/status', heard.append, latched_profile())
    program = Path(get_package_prefix('vseg_ros')) / 'lib' / 'vseg_ros' / 'ditta'
    parameters = (f'input_size:={input_size}', 'warmup.frames:=4', 'adaptation.passes:=1')
    arguments = [word for each in parameters for word in ('-p', each)]
    with tempfile.TemporaryDirectory() as folder, process(
            program, '--ros-args', *arguments):
        change_state(executor, node, Transition.TRANSITION_CONFIGURE,
                     Transition.TRANSITION_ACTIVATE)
        with helper('camera', *size, rate):
            spin(executor, lambda: heard and heard[-1].state == StatusMessage.FROZEN)
            output = Path(folder) / 'ages'
            with helper('listener', 'segmentation', output=output):
                spin(executor, output.read_text)
                spin_for(executor, SETTLE)
                first = heard[-1]
                spin_for(executor, seconds)
                last = heard[-1]
            rows = [line.split() for line in output.read_text().splitlines()[:-1]]
    node.destroy_node()
    arrivals = [(float(at), float(age) * 1e3) for at, age in rows]
    arrivals = [each for each in arrivals if each[0] > arrivals[0][0] + SETTLE]
    print(f'{size[1]}x{size[0]} at {rate:g} Hz, input_size {input_size}, {seconds:g} s')
    print_ages(arrivals)
    for name in ('frames_in', 'frames_out', 'frames_dropped', 'frames_lost'):
        print(f'{name:22}{getattr(last, name) - getattr(first, name):8}')


def print_ages(arrivals: list[tuple[float, float]]) -> None:
    """
    Print the ages of masks, over all the time and of its two ends.

    Args:
        arrivals: when each mask came, in s, and how old it was, in ms.

    """
    times = [at for at, _ in arrivals]
    span = min(60.0, (times[-1] - times[0]) / 2)
    parts = {'all': arrivals,
             f'first {span:.0f} s': [each for each in arrivals if each[0] <= times[0] + span],
             f'last {span:.0f} s': [each for each in arrivals if each[0] >= times[-1] - span]}
    gaps = np.diff(times) * 1e3
    period = statistics.median(gaps)
    print(f'{"inference time":22}{period:8.1f} ms between two masks (median; the longest '
          f'{max(gaps):.1f})')
    for name, part in parts.items():
        ages = [age for _, age in part]
        print(f'{"age, " + name:22}{statistics.fmean(ages):8.1f} ms mean '
              f'{np.percentile(ages, 95):8.1f} ms 95 % {max(ages):8.1f} ms longest '
              f'({max(ages) / period:.2f} inference times; {len(ages)} masks)')


def main() -> None:
    """Measure, or be the camera or a listener of a measurement."""
    if sys.argv[1:2] in (['camera'], ['listener']):
        ask_for_large_buffer()
        rclpy.init()
        if sys.argv[1] == 'camera':
            run_camera((int(sys.argv[2]), int(sys.argv[3])), float(sys.argv[4]))
        else:
            run_listener(sys.argv[2])
    parser = argparse.ArgumentParser(description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('what', choices=['cost', 'latency'])
    parser.add_argument('--height', type=int, default=720, help='of the images (default 720)')
    parser.add_argument('--width', type=int, default=1280, help='of the images (default 1280)')
    parser.add_argument('--seconds', type=float, default=20.0, help='of each measurement')
    parser.add_argument('--rate', type=float, default=24.0,
                        help='of the camera, in Hz (default 24)')
    parser.add_argument('--input-size', type=int, default=360,
                        help="parameter of the node that sets the model's speed (default 360)")
    chosen = parser.parse_args()
    ask_for_large_buffer()
    rclpy.init()
    size = chosen.height, chosen.width
    if chosen.what == 'cost':
        measure_cost(size, chosen.seconds, chosen.rate)
    else:
        measure_latency(size, chosen.seconds, chosen.rate, chosen.input_size)
    rclpy.shutdown()


if __name__ == '__main__':
    main()
