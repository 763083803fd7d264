"""A source seen through bad weather."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vseg_ros.datasets.weather import Weather
from vseg_ros.io.derived_source import DerivedSource
from vseg_ros.io.frame_source import FrameSource, LabelledFrame


class WeatherSource(DerivedSource):
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
        super().__init__(source)
        self.weather, self._seed = weather, seed

    @property
    def name(self) -> str:
        """The source's name and the weather, such as `0016E5 in fog:3`."""
        return f'{self.source.name} in {self.weather}'

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read from the first frame."""
        for index, item in enumerate(self.source):
            random = np.random.default_rng((self._seed, index))
            image = self.weather(item.frame.image, random)
            yield replace(item, frame=replace(item.frame, image=image))
