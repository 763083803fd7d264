"""The node `virst` as a program, around the small model of test/color_query.py."""

from __future__ import annotations

import sys
from pathlib import Path

from vseg_ros.nodes.parameters import VirstNodeSettings
from vseg_ros.nodes.running import leave, run
from vseg_ros.nodes.virst_node import VirstNode
from vseg_ros.video_query import VideoQuery

sys.path.insert(0, str(Path(__file__).parents[2]))
from color_query import ColorQuery


class ColorVirstNode(VirstNode):
    """The node as it is, but for what it loads."""

    def load(self, settings: VirstNodeSettings) -> VideoQuery:
        """Load nothing."""
        return ColorQuery()


if __name__ == '__main__':
    leave(run(ColorVirstNode, 'virst', 'For tests.'))
