"""A camera that is far too fast, and large images: what is sent, comes, and is dropped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from rclpy.utilities import get_rmw_implementation_identifier

from vseg_ros.nodes.receive_buffer import kernel_limit

# A camera in a process of its own: height, width, frames a second, number of frames. Its stamps
# begin at 1000 s and are as regular as its rate says.
CAMERA = """
import array, sys, time
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

height, width, rate, frames = map(int, sys.argv[1:])
rclpy.init()
node = rclpy.create_node('fast_camera')
publisher = node.create_publisher(Image, 'image', QoSProfile(depth=1))
message = Image(encoding='rgb8', height=height, width=width, step=3 * width,
                data=array.array('B', bytes(range(256)) * (height * width * 3 // 256)))
while not publisher.get_subscription_count():
    time.sleep(0.05)
time.sleep(0.5)
began = time.monotonic()
for index in range(frames):
    time.sleep(max(0, began + index / rate - time.monotonic()))
    nanoseconds = index * 1_000_000_000 // rate
    message.header.stamp.sec = 1000 + nanoseconds // 1_000_000_000
    message.header.stamp.nanosec = nanoseconds % 1_000_000_000
    publisher.publish(message)
time.sleep(0.5)
"""


def film(ros: Any, ears: Any, height: int, width: int, rate: int, frames: int) -> Any:
    """Run a camera to its end; return the node's status when all it got is dealt with."""
    heard = ears.statuses[-1].frames_in
    process = subprocess.Popen([sys.executable, '-c', CAMERA, *map(str, (
        height, width, rate, frames))], env=dict(os.environ))
    try:
        ros.until(lambda: process.poll() is not None, 120)
    finally:
        process.kill()
        process.wait()
    statuses = len(ears.statuses)

    def dealt_with() -> bool:
        status = ears.statuses[-1]
        return bool(len(ears.statuses) > statuses + 2
                    and status.frames_in == status.frames_out + status.frames_dropped
                    and len(ears.segmentations) == status.frames_out)
    ros.until(dealt_with, 60)
    status = ears.statuses[-1]
    print(f'{frames} sent at {rate} Hz: {status.frames_in - heard} came, {status.frames_lost} '
          f'known to be lost, {status.frames_dropped} dropped, {len(ears.segmentations)} label '
          'images')
    return status


def test_camera_that_is_far_too_fast(start: Callable[..., Any], ears: Any, ros: Any) -> None:
    frames = 600
    node = start({'status_period': 0.2, 'input_size': 256})
    node.transition('configure', 'activate')
    ros.until(lambda: ears.state == 'WARMING_UP')
    status = film(ros, ears, 240, 320, 200, frames)
    assert status.frames_in + status.frames_lost <= frames
    assert status.frames_in > frames / 4
    assert status.frames_dropped > 0
    assert status.frames_in == status.frames_out + status.frames_dropped
    assert ears.stamps == sorted(set(ears.stamps)), 'in order, none twice'
    assert len(ears.stamps) == status.frames_out
    assert ears.stamps[-1] >= 1_000_000_000_000 + (frames - 50) * 5_000_000, 'the newest wins'


def test_large_images_reach_the_node(start: Callable[..., Any], ears: Any, ros: Any,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    if get_rmw_implementation_identifier() != 'rmw_cyclonedds_cpp':
        pytest.skip('the receive buffer is that of Cyclone DDS')
    if (kernel_limit() or 0) < 1 << 22:
        pytest.skip('needs net.core.rmem_max of 4 MiB or more')
    if os.environ.get('CYCLONEDDS_URI', '').startswith('file:'):
        # this process has read it already, and may not find a node that has not
        pytest.skip('needs the configuration that Cyclone DDS has by itself')
    frames = 72
    monkeypatch.delenv('CYCLONEDDS_URI', raising=False)
    node = start({'status_period': 0.2})
    node.transition('configure', 'activate')
    ros.until(lambda: ears.state == 'WARMING_UP')
    status = film(ros, ears, 720, 1280, 24, frames)
    # With the buffer that Cyclone DDS asks for by itself hardly any arrives.
    assert status.frames_in >= frames / 2
    assert status.frames_in + status.frames_lost <= frames
    assert status.frames_in == status.frames_out + status.frames_dropped
