#!/usr/bin/env python3
"""Stands in for RViz: says to which topics the displays of a view are subscribed, remapped."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import rclpy
import yaml
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image

rclpy.init(args=sys.argv)
node = rclpy.create_node('rviz')
view = yaml.safe_load(Path(sys.argv[sys.argv.index('-d') + 1]).read_text())
for display in view['Visualization Manager']['Displays']:
    subscription = node.create_subscription(Image, display['Topic']['Value'],
                                            lambda message: None, 1)
    print('RViz shows', subscription.topic_name, flush=True)
with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
    rclpy.spin(node)
