"""Who hears whom, and what arrives."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import Image

from vseg_ros.nodes.conversions import stamp_of
from vseg_ros.nodes.qos import camera_profile, latched_profile, output_profile
from vseg_ros.nodes.receive_buffer import ask_for_large_buffer, kernel_limit
from vseg_ros.nodes.stream_monitor import StreamMonitor

ANY = [QoSProfile(depth=1, reliability=reliability, durability=durability)
       for reliability in (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT)
       for durability in (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL)]
FRAMES = 48


@pytest.mark.parametrize('camera', ANY, ids=[
    'reliable', 'reliable latched', 'best effort', 'best effort latched'])
def test_every_camera_is_heard(camera: QoSProfile) -> None:
    assert qos_check_compatible(camera, camera_profile())[0] != QoSCompatibility.ERROR


@pytest.mark.parametrize('reliability', [ReliabilityPolicy.RELIABLE,
                                         ReliabilityPolicy.BEST_EFFORT])
def test_every_viewer_hears_an_output(reliability: ReliabilityPolicy) -> None:
    viewer = QoSProfile(depth=1, reliability=reliability)
    assert qos_check_compatible(output_profile(), viewer)[0] != QoSCompatibility.ERROR


def test_what_is_latched_reaches_who_comes_late(ros: Any) -> None:
    publisher = ros.node('sender').create_publisher(Image, 'latched', latched_profile())
    publisher.publish(Image(width=1))
    publisher.publish(Image(width=2))
    got: list[int] = []
    ros.node('late').create_subscription(
        Image, 'latched', lambda message: got.append(message.width), latched_profile())
    ros.until(lambda: got)
    assert got == [2]


@pytest.mark.parametrize('profile', [camera_profile, output_profile, latched_profile])
def test_a_profile_is_made_anew(profile: Any) -> None:
    profile().depth = 77
    assert profile().depth != 77


SENDER = """
import array, sys, time
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node('camera')
publisher = node.create_publisher(Image, 'image', QoSProfile(depth=1))
message = Image(encoding='rgb8', height=720, width=1280, step=3840,
                data=array.array('B', bytes(720 * 3840)))
while not publisher.get_subscription_count():
    time.sleep(0.05)
time.sleep(0.5)
for _ in range(int(sys.argv[1])):
    message.header.stamp = node.get_clock().now().to_msg()
    publisher.publish(message)
    time.sleep(1 / 24)
time.sleep(0.5)
"""


def test_large_images_arrive(monkeypatch: pytest.MonkeyPatch, domain: int, tmp_path: Path,
                             request: pytest.FixtureRequest) -> None:
    monkeypatch.delenv('CYCLONEDDS_URI', raising=False)
    ask_for_large_buffer()
    ros = request.getfixturevalue('ros')
    if get_rmw_implementation_identifier() != 'rmw_cyclonedds_cpp':
        pytest.skip('the receive buffer is that of Cyclone DDS')
    if (kernel_limit() or 0) < 1 << 22:
        pytest.skip('needs net.core.rmem_max of 4 MiB or more')
    monitor = StreamMonitor()
    ros.node('receiver').create_subscription(
        Image, 'image', lambda message: monitor.received(
            stamp_of(message.header), time.monotonic_ns()), camera_profile())
    sender = subprocess.Popen([sys.executable, '-c', SENDER, str(FRAMES)], env=dict(os.environ))
    try:
        ros.until(lambda: sender.poll() is not None, 120)
    finally:
        sender.kill()
    report = monitor.report(time.monotonic_ns())
    print(f'{FRAMES} sent, {report.frames_in} received, {report.frames_lost} known to be lost')
    # With the buffer that Cyclone DDS asks for by itself none arrives.
    assert report.frames_in >= FRAMES / 2
    assert report.frames_in + report.frames_lost <= FRAMES
