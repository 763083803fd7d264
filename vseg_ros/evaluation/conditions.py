"""
In what conditions videos are seen: in which weather and at which frame rate.

The weather is painted first and frames are left out second, so that a frame looks the same at
every stride.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vseg_ros.datasets.weather import WEATHERS, Weather, parse_weather
from vseg_ros.datasets.weather_source import WeatherSource
from vseg_ros.errors import UserError
from vseg_ros.io.every_nth import EveryNth
from vseg_ros.io.frame_source import FrameSource

CLEAN = 'clean'
"""What no weather is called."""

_ALL = 'all'


@dataclass(frozen=True)
class Condition:
    """
    A weather and a frame rate; by default none and that of the video.

    Attributes:
        weather: what is painted over every frame, None for clean frames.
        stride: every which frame is seen, at least 1.

    """

    weather: Weather | None = None
    stride: int = 1

    def __call__(self, video: FrameSource, seed: int) -> FrameSource:
        """Return the video as it is seen; `seed` is the weather's."""
        if self.weather is not None:
            video = WeatherSource(video, self.weather, seed)
        return video if self.stride == 1 else EveryNth(video, self.stride)

    @property
    def weather_name(self) -> str:
        """The weather as `read_weathers` reads it, such as `fog:3`, or `clean`."""
        return CLEAN if self.weather is None else str(self.weather)

    @property
    def rate(self) -> str:
        """The frame rate in words, such as `1 frame in 3`."""
        return 'every frame' if self.stride == 1 else f'1 frame in {self.stride}'

    def __str__(self) -> str:
        """Return it in words, such as `fog, severity 3, 1 frame in 3`."""
        weather = (CLEAN if self.weather is None
                   else f'{self.weather.name}, severity {self.weather.severity}')
        return f'{weather}, {self.rate}'


AS_RECORDED = Condition()
"""Clean, every frame."""


def read_weathers(text: str) -> list[Weather | None]:
    """
    Read 'clean,fog:3,snow' as weathers, each once; None is clean.

    `all` stands for every weather, `all:5` for every weather at severity 5.

    Raises:
        UserError: no such weather or severity; the line lists what there is.

    """
    return list(dict.fromkeys(weather for part in text.split(',')
                              for weather in _read_weather(part.strip())))


def _read_weather(part: str) -> Iterator[Weather | None]:
    name, colon, severity = part.partition(':')
    if part == CLEAN:
        yield None
    elif name == _ALL:
        yield from (parse_weather(f'{each}{colon}{severity}') for each in WEATHERS)
    else:
        yield parse_weather(part)


def read_strides(text: str) -> list[int]:
    """
    Read '1,3' as strides, each once.

    Raises:
        UserError: not whole numbers from 1 on.

    """
    parts = [part.strip() for part in text.split(',')]
    if not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
        raise UserError(f'--stride {text!r} must be whole numbers from 1 on, such as 3 for every '
                        'third frame or 1,3 for both')
    return list(dict.fromkeys(int(part) for part in parts))


def combine(weathers: Sequence[Weather | None], strides: Sequence[int]) -> list[Condition]:
    """Return every weather at every stride, all weathers of a stride in a row."""
    return [Condition(weather, stride) for stride in strides for weather in weathers]
