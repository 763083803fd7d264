"""QoS profiles, made anew for each use: a QoS override changes the profile it is given."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _keep_last(depth: int, reliability: ReliabilityPolicy,
               durability: DurabilityPolicy = DurabilityPolicy.VOLATILE) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability,
                      durability=durability)


def camera_profile() -> QoSProfile:
    """
    Return the profile of a subscription to a camera: best effort, the newest image alone.

    Best effort hears every camera; reliable hears no camera that publishes best effort. So does
    `best_available` if it is there before the camera: it then settles on reliable.
    """
    return _keep_last(1, ReliabilityPolicy.BEST_EFFORT)


def output_profile() -> QoSProfile:
    """Return the profile of a published image: any subscriber can read it."""
    return _keep_last(5, ReliabilityPolicy.RELIABLE)


def latched_profile() -> QoSProfile:
    """Return the profile of what a late subscriber must still receive: the last one, at once."""
    return _keep_last(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)


def request_profile() -> QoSProfile:
    """
    Return the profile of a service that many may ask at once: no request is overwritten.

    ROS' own keeps ten that the node has not taken yet, and the eleventh replaces the first.
    """
    return _keep_last(1000, ReliabilityPolicy.RELIABLE)
