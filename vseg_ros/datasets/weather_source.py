"""A source seen through bad weather."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vseg_ros.datasets.weather import Weather
from vseg_ros.io.frame_source import FrameSource, LabelledFrame
from vseg_ros.labels import LabelSet


class WeatherSource:
    """
    Another source's frames in bad weather; see `FrameSource`.

    Every frame is drawn on its own, from `seed` and its index alone, so iterating again gives the
    same pictures. Labels, stamps and frame ids are the source's.

    Args:
        source: the frames in clear sight.
        weather: what to paint over them.
        seed: of all chance, >= 0.

    """

    def __init__(self, source: FrameSource, weather: Weather, seed: int = 0) -> None:
        self.source, self.weather, self._seed = source, weather, seed

    @property
    def name(self) -> str:
        """The source's name and the weather, such as `0016E5 in fog:3`."""
        return f'{self.source.name} in {self.weather}'

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

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read from the first frame."""
        for index, item in enumerate(self.source):
            random = np.random.default_rng((self._seed, index))
            image = self.weather(item.frame.image, random)
            yield replace(item, frame=replace(item.frame, image=image))
