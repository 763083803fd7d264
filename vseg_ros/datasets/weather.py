"""
Bad weather painted over camera images, as in the robustness benchmarks.

The four weathers and their severities are those of ImageNet-C (Hendrycks and Dietterich, 2019)
and Cityscapes-C (Michaelis et al., 2019); `docs/weather.md` lists the parameters. Every weather
has a file of its own with one function, which draws everything random from the generator it is
given: the same generator state paints the same picture.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vseg_ros.datasets.weather_fog import fog
from vseg_ros.datasets.weather_frost import frost
from vseg_ros.datasets.weather_snow import snow
from vseg_ros.datasets.weather_spatter import spatter
from vseg_ros.errors import UserError
from vseg_ros.frame import UInt8Array

_PAINTERS: dict[str, Callable[[UInt8Array, int, np.random.Generator], UInt8Array]] = {
    'fog': fog, 'frost': frost, 'snow': snow, 'spatter': spatter}
WEATHERS = tuple(_PAINTERS)
SEVERITIES = (1, 2, 3, 4, 5)
_DEFAULT_SEVERITY = 3


@dataclass(frozen=True)
class Weather:
    """
    One weather at one severity: a function from image to image.

    Attributes:
        name: one of `WEATHERS`.
        severity: 1 (slight) to 5 (heavy).

    Raises:
        UserError: another name or severity.

    """

    name: str
    severity: int = _DEFAULT_SEVERITY

    def __post_init__(self) -> None:
        """Check both."""
        if self.name not in WEATHERS:
            near = difflib.get_close_matches(self.name, WEATHERS, n=1, cutoff=0)[0]
            raise UserError(f'there is no weather {self.name!r}, did you mean {near!r}? There are '
                            f'{", ".join(WEATHERS)}, each with a severity of 1 to 5 such as '
                            f'{near}:{_DEFAULT_SEVERITY}')
        if self.severity not in SEVERITIES:
            raise UserError(f'there is no {self.name} of severity {self.severity}: choose 1 '
                            '(slight) to 5 (heavy)')

    def __call__(self, image: UInt8Array, random: np.random.Generator) -> UInt8Array:
        """
        Paint the weather over an image.

        Args:
            image: uint8 [H, W, 3], RGB, of any size; not changed.
            random: where all chance comes from.

        Returns:
            uint8 [H, W, 3], RGB.

        """
        return _PAINTERS[self.name](image, self.severity, random)

    def __str__(self) -> str:
        """Return what `parse_weather` reads, such as `fog:3`."""
        return f'{self.name}:{self.severity}'


def parse_weather(text: str) -> Weather:
    """
    Read `NAME:SEVERITY`, or `NAME` for severity 3.

    Raises:
        UserError: no such weather or severity; the line lists what there is.

    """
    name, colon, severity = text.strip().partition(':')
    if not colon:
        return Weather(name)
    if severity not in map(str, SEVERITIES):
        raise UserError(f'{text!r} is no weather: write one of {", ".join(WEATHERS)} and a '
                        'severity of 1 (slight) to 5 (heavy), such as '
                        f'fog:{_DEFAULT_SEVERITY}')
    return Weather(name, int(severity))
