"""A source at a lower frame rate."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from vseg_ros.errors import UserError
from vseg_ros.io.derived_source import DerivedSource
from vseg_ros.io.frame_source import FrameSource, LabelledFrame


class EveryNth(DerivedSource):
    """
    Every n-th frame of another source, from its first on; see `FrameSource`.

    Args:
        source: all the frames.
        stride: n; frames keep their labels and stamps, so the rate falls to 1 / n.

    Raises:
        UserError: a stride below 1.

    """

    def __init__(self, source: FrameSource, stride: int) -> None:
        if stride < 1:
            raise UserError(f'a stride of {stride} keeps no frame: give 1 for every frame, 2 for '
                            'every second one, and so on')
        super().__init__(source)
        self.stride = stride

    @property
    def frame_count(self) -> int | None:
        """How many frames are left, if the source knows how many it has."""
        count = self.source.frame_count
        return None if count is None else -(-count // self.stride)

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read from the first frame."""
        return islice(iter(self.source), 0, None, self.stride)
