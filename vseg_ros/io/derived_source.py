"""What a source made from another one shares with it."""

from __future__ import annotations

from pathlib import Path

from vseg_ros.io.frame_source import FrameSource
from vseg_ros.labels import LabelSet


class DerivedSource:
    """
    Base of a `FrameSource` that changes what another one gives; all it does not say is as there.

    Args:
        source: the other one.

    """

    def __init__(self, source: FrameSource) -> None:
        self.source = source

    @property
    def name(self) -> str:
        """The source's."""
        return self.source.name

    @property
    def path(self) -> Path | None:
        """The source's."""
        return self.source.path

    @property
    def label_set(self) -> LabelSet | None:
        """The source's."""
        return self.source.label_set

    @property
    def frame_count(self) -> int | None:
        """The source's."""
        return self.source.frame_count
