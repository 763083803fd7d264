"""A source whose labels come in the target classes of a class map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vseg_ros.class_maps import ClassMap
from vseg_ros.class_names import LABEL_SETS
from vseg_ros.datasets.layout import Video
from vseg_ros.errors import UserError
from vseg_ros.frame import UInt8Array
from vseg_ros.io.derived_source import DerivedSource
from vseg_ros.io.frame_source import FrameSource, LabelledFrame
from vseg_ros.labels import LabelSet


class RelabelledSource(DerivedSource):
    """
    Another source's frames with labels in other classes; see `FrameSource`.

    Args:
        source: labelled in the class map's `truth`, or not labelled.
        class_map: labels become ids of its target, and its ignore id where it has none.

    Raises:
        UserError: the source is labelled in other classes, or (while reading) with 16 bits.

    """

    def __init__(self, source: FrameSource, class_map: ClassMap) -> None:
        truth, own = LABEL_SETS[class_map.truth], source.label_set
        if own is not None and own.names != truth.names:
            raise UserError(
                f'{source.name} is labelled with {len(own)} classes ({", ".join(own.names[:3])}, '
                f'…), which classes {class_map.name!r} does not know: it scores labels in the '
                f'{len(truth)} of {class_map.truth}')
        super().__init__(source)
        self._target = class_map.target
        self._table: UInt8Array = class_map.truth_table()

    @property
    def label_set(self) -> LabelSet | None:
        """The class map's target; None if the source is not labelled."""
        return self.source.label_set and self._target

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read from the first frame."""
        return (self._relabel(item) for item in self.source)

    def _relabel(self, item: LabelledFrame) -> LabelledFrame:
        if item.labels is None:
            return item
        if item.labels.dtype != self._table.dtype:
            raise UserError(f'the labels of {self.name} have 16 bits a pixel: save them with 8')
        return replace(item, labels=self._table[item.labels])


class RelabelledVideo(RelabelledSource):
    """The same for a source whose frames can also be read by number."""

    source: Video

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.source)

    def __getitem__(self, index: int) -> LabelledFrame:
        """Read one frame, counted from 0, or from the end if negative."""
        return self._relabel(self.source[index])
