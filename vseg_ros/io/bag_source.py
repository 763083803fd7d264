"""A bag as a `FrameSource`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vseg_ros.io.bag_reader import BagReader
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.io.skipped_images import SkippedImages


class BagSource:
    """
    A bag's camera and its labels; see `FrameSource`.

    Args:
        path: bag folder, or bare .mcap or .db3 file.
        topic: the camera's topic; needed if there are several.
        labels: topic of the label images; by default the one that ends with /labels.
        with_labels: False reads the camera alone, whatever label images there are.
        skipped: images that cannot be decoded are left out and counted here, anew whenever the
            bag is read from its start; by default such an image ends the reading.

    Raises:
        UserError: as for `BagReader`; the bag is looked into at once.

    """

    def __init__(self, path: str | Path, topic: str | None = None,
                 labels: str | None = None, with_labels: bool = True,
                 skipped: SkippedImages | None = None) -> None:
        self.path = Path(path)
        with BagReader(path, topic, labels, with_labels) as reader:
            self.topic = reader.topic
            self.labels_topic = reader.labels_topic
            self.label_set = reader.label_set
            self.frame_count = reader.frame_count
        self.name = self.path.stem
        self._skipped = skipped

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read the bag from its start."""
        with_labels = self.labels_topic is not None
        if self._skipped is not None:
            self._skipped.clear()
        with BagReader(self.path, self.topic, self.labels_topic, with_labels) as reader:
            yield from reader.labelled_frames(self._skipped)
