#!/usr/bin/env python3
"""
The node `time2general`: driving segmentation that holds in any weather, at any frame rate.

It has the topics of every `VideoNode` and nothing beside. Sliding, every frame is answered at
once. In clips, frames wait until a clip is full; those of a camera that stops are answered after
`max_gap`, and those of a node that is deactivated before it is.
"""

from __future__ import annotations

from typing import Any

from vseg_ros.nodes.parameters import Time2GeneralNodeSettings
from vseg_ros.nodes.running import leave, run
from vseg_ros.nodes.video_node import VideoNode


class Time2GeneralNode(VideoNode[Time2GeneralNodeSettings]):
    """
    Time2General on a camera.

    Args:
        options: of rclpy's node, such as context, namespace and parameter_overrides.

    Raises:
        UserError: a parameter file or the command line is wrong.

    """

    def __init__(self, **options: Any) -> None:
        super().__init__('time2general', Time2GeneralNodeSettings, **options)

    def patience(self, settings: Time2GeneralNodeSettings) -> float | None:
        """Answer what waits when the pause is one after which a new clip begins anyway."""
        return settings.max_gap if settings.mode == 'clips' else None


def main() -> None:
    """Run the node."""
    leave(run(Time2GeneralNode, 'time2general',
              'Driving segmentation that holds in any weather.'))


if __name__ == '__main__':
    main()
