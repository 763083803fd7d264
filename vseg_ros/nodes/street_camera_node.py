#!/usr/bin/env python3
"""
A camera that films the synthetic street: publishes `image`, and `image/compressed` if asked to.

For trying a segmentation node where there is no camera. Each picture is painted after the one
before was published, so that it is ready when its time comes and leaves with the stamp of that
moment.
"""

from __future__ import annotations

import time
from array import array
from typing import Literal

from pydantic import Field
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import CompressedImage, Image

from vseg_ros.frame import UInt8Array
from vseg_ros.io.message_types import jpeg_message
from vseg_ros.io.street import SyntheticStreet
from vseg_ros.nodes.conversions import header_of, image_message
from vseg_ros.nodes.declared_parameters import QOS_OVERRIDES, describe, given_values
from vseg_ros.nodes.parameters import Effect
from vseg_ros.nodes.qos import output_profile
from vseg_ros.nodes.running import leave, run
from vseg_ros.settings import Settings
from vseg_ros.settings_reading import dotted_fields, settings_from_values

_WARNING_PERIOD = 10.0  # seconds between two warnings of the same kind


class StreetCameraSettings(Settings):
    """Parameters of the street camera; all are read once, at its start."""

    width: int = Field(640, ge=32, le=4096, description='Width of the pictures, in pixels.')
    height: int = Field(360, ge=32, le=4096, description='Height of the pictures, in pixels.')
    fps: float = Field(10.0, ge=0.1, le=1000, description='Pictures a second, in Hz.')
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description='Which street: every seed is another, with traffic, '
        'and unless they are named weather and lighting, of its own.')
    frames: int = Field(
        300, ge=1, le=100000, description='Pictures from the beginning of the drive to its end.')
    loop: bool = Field(
        True, description='Drive again from the beginning when the end is reached; off, the '
        'camera stops there and its process ends.')
    weather: Literal['seed', 'clear', 'overcast', 'fog', 'rain', 'snow'] = Field(
        'seed', description='Weather; seed draws it from the seed.')
    lighting: Literal['seed', 'day', 'dusk', 'night'] = Field(
        'seed', description='Time of day; seed draws it from the seed.')
    compressed: bool = Field(
        False, description='Publish JPEG pictures on image/compressed as well.')
    frame_id: str = Field(
        'camera', description="Name of the camera's coordinate frame, in every header.")


class StreetCamera(Node):
    """
    Publishes the street at a steady rate; a picture nobody subscribes to is not converted.

    Raises:
        UserError: a parameter that does not exist (the nearest is named) or a value out of its
            range (the range is named).

    """

    def __init__(self) -> None:
        super().__init__('street_camera')
        self.settings = settings = self._declare_parameters()
        self._street = SyntheticStreet(
            settings.seed, settings.frames, (settings.height, settings.width), settings.fps,
            None if settings.weather == 'seed' else settings.weather,
            None if settings.lighting == 'seed' else settings.lighting)
        overridable = QoSOverridingOptions.with_default_policies()
        self._raw = self.create_publisher(Image, 'image', output_profile(),
                                          qos_overriding_options=overridable)
        self._jpeg = self.create_publisher(
            CompressedImage, 'image/compressed', output_profile(),
            qos_overriding_options=overridable) if settings.compressed else None
        self._index = 0
        self._next = self._paint()
        self._timer = self.create_timer(1 / settings.fps, self._tick)
        self.get_logger().info(
            f'street {settings.seed} on {self._raw.topic_name}: {settings.width}x'
            f'{settings.height} at {settings.fps:g} Hz, {self._street.conditions.weather}, '
            f'{self._street.conditions.lighting}')

    def _declare_parameters(self) -> StreetCameraSettings:
        values = {name: value for name, value in given_values(self).items()
                  if not self.has_parameter(name) and not name.startswith(QOS_OVERRIDES)}
        settings = settings_from_values(StreetCameraSettings, values)
        for name, field in dotted_fields(StreetCameraSettings):
            # Read-only says all there is to say of changes.
            descriptor = describe(name, field, Effect.AT_ONCE)
            descriptor.read_only = True
            self.declare_parameter(name, getattr(settings, name), descriptor,
                                   ignore_override=True)
        return settings

    def _paint(self) -> UInt8Array:
        return self._street[self._index].frame.image

    def _tick(self) -> None:
        if self._index == len(self._street):
            self.get_logger().info('the drive is over')
            self._timer.cancel()
            try_shutdown(context=self.context)
            return
        started = time.perf_counter()
        self._publish()
        self._index += 1
        if self.settings.loop:
            self._index %= len(self._street)
        if self._index < len(self._street):
            self._next = self._paint()
        self._watch_rate(time.perf_counter() - started)

    def _publish(self) -> None:
        stamp = self.get_clock().now().nanoseconds
        header = header_of(stamp, self.settings.frame_id)
        if self._raw.get_subscription_count():
            self._raw.publish(image_message(self._next, 'rgb8', header))
        if self._jpeg is not None and self._jpeg.get_subscription_count():
            fields = jpeg_message(self._next, stamp, self.settings.frame_id)
            self._jpeg.publish(CompressedImage(header=header, format=fields.format,
                                               data=array('B', fields.data.tobytes())))

    def _watch_rate(self, seconds: float) -> None:
        if seconds > 1 / self.settings.fps:
            self.get_logger().warning(
                f'a picture takes {seconds * 1000:.0f} ms, too long for {self.settings.fps:g} Hz: '
                'choose a smaller width and height, or a lower fps',
                throttle_duration_sec=_WARNING_PERIOD, skip_first=True)


def main() -> None:
    """Run the street camera until SIGINT or SIGTERM, or the end of a drive without loop."""
    leave(run(StreetCamera, 'street_camera',
              'A camera that films a synthetic street: publishes image and, with '
              'compressed:=true, image/compressed.'))


if __name__ == '__main__':
    main()
