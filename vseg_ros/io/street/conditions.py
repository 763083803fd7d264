"""
Weather, light and lens of one video.

Everything here changes pixels and nothing else: it is drawn from its own random stream, so that
a street keeps its labels under any weather. Colours are RGB, 0..255; gains are factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
WEATHERS = ('clear', 'overcast', 'fog', 'rain', 'snow')
LIGHTINGS = ('day', 'dusk', 'night')


@dataclass(frozen=True, eq=False)
class Conditions:
    """
    How one video looks.

    Attributes:
        weather: one of `WEATHERS`.
        lighting: one of `LIGHTINGS`.
        ambient: float64 [3], gain of light from everywhere.
        sun: float64 [3], gain of direct light.
        sun_direction: unit vector towards the sun, float64 [3].
        shadow: darkness of cast shadows, 0 (none) to 1.
        haze: share of light lost a metre.
        haze_color: float64 [3].
        sky_top: float64 [3], colour of the zenith.
        sky_bottom: float64 [3], colour of the horizon.
        cloud: weight of clouds, 0..1.
        cloud_color: float64 [3].
        gamma: exponent of the camera's tone curve.
        contrast: gain around middle grey.
        gain: float64 [3], exposure and colour temperature.
        blur: standard deviation of the lens blur at 480 columns, in pixels.
        noise: standard deviation of the sensor noise, 0..255.
        vignette: loss of light in the corners, 0..1.

    """

    weather: str
    lighting: str
    ambient: Array
    sun: Array
    sun_direction: Array
    shadow: float
    haze: float
    haze_color: Array
    sky_top: Array
    sky_bottom: Array
    cloud: float
    cloud_color: Array
    gamma: float
    contrast: float
    gain: Array
    blur: float
    noise: float
    vignette: float


_WEATHER_ODDS = {'day': (0.45, 0.3, 0.07, 0.1, 0.08), 'dusk': (0.4, 0.35, 0.07, 0.12, 0.06),
                 'night': (0.5, 0.2, 0.05, 0.2, 0.05)}


def draw_conditions(rng: np.random.Generator, weather: str | None,
                    lighting: str | None) -> Conditions:
    """Draw the look of a video; `weather` and `lighting` fix what they name."""
    drawn_lighting = str(rng.choice(LIGHTINGS, p=(0.72, 0.2, 0.08)))
    lighting = lighting or drawn_lighting
    drawn_weather = str(rng.choice(WEATHERS, p=_WEATHER_ODDS[lighting]))
    weather = weather or drawn_weather
    top, bottom = _sky(rng, weather, lighting)
    level = {'day': rng.uniform(0.55, 0.95), 'dusk': rng.uniform(0.2, 0.55),
             'night': rng.uniform(0.2, 0.34)}[lighting]
    sunny = weather == 'clear' and lighting != 'night'
    strength = rng.uniform(0.35, 0.7) if sunny else rng.uniform(0.05, 0.2)
    if lighting != 'day':
        strength *= level
    elif not sunny:
        level += 0.2
    azimuth = rng.uniform(0, 2 * np.pi)
    elevation = rng.uniform(0.35, 1.1) if lighting == 'day' else rng.uniform(0.2, 0.4)
    warm = rng.uniform(0.0, 0.12) if lighting == 'day' else rng.uniform(0.0, 0.25)
    temperature = rng.normal(0, 0.05)
    tint = rng.normal(0, 0.02)
    haze = {'fog': rng.uniform(0.012, 0.045), 'rain': rng.uniform(0.003, 0.01),
            'snow': rng.uniform(0.004, 0.014)}.get(weather, rng.uniform(0.0003, 0.003))
    return Conditions(
        weather=weather, lighting=lighting,
        ambient=level * np.array([1.0 - warm * 0.2, 1.0, 1.0 + warm * 0.4]),
        sun=strength * np.array([1.0 + warm, 1.0, 1.0 - warm]),
        sun_direction=np.array([np.cos(azimuth) * np.cos(elevation), np.sin(elevation),
                                np.sin(azimuth) * np.cos(elevation)]),
        shadow=rng.uniform(0.35, 0.65) if sunny else 0.0, haze=haze,
        haze_color=bottom * (0.9 if weather == 'fog' else 0.85),
        sky_top=top, sky_bottom=bottom,
        cloud=rng.uniform(0.0, 0.9) if weather == 'clear' else rng.uniform(0.2, 0.7),
        cloud_color=np.clip(bottom * rng.uniform(0.6, 1.15), 0, 255),
        gamma=rng.uniform(0.7, 1.15), contrast=rng.uniform(0.85, 1.25),
        gain=rng.uniform(0.9, 1.25) * np.array([1 + temperature, 1 + tint, 1 - temperature]),
        blur=rng.uniform(0.35, 0.9),
        noise=rng.uniform(1.0, 4.0) * (1.0 if lighting == 'day' else 1.5),
        vignette=rng.uniform(0.0, 0.25))


def _sky(rng: np.random.Generator, weather: str, lighting: str) -> tuple[Array, Array]:
    """Draw the sky's colour at the zenith and at the horizon."""
    if lighting == 'night':
        bottom = np.array([34.0, 32.0, 40.0]) * rng.uniform(0.5, 1.4)
        return bottom * 0.5, bottom
    white = rng.uniform(200, 255)
    if weather == 'clear':
        blue = np.array([rng.uniform(70, 170), rng.uniform(130, 195), rng.uniform(205, 250)])
        top, bottom = blue, white * np.array([0.93, 0.98, 1.0])
    else:
        grey = rng.uniform(150, 235)
        top = grey * np.array([0.96, 0.98, 1.0]) * rng.uniform(0.75, 1.0)
        bottom = np.array([grey, grey, grey])
    if lighting == 'dusk':
        glow = np.array([1.0, rng.uniform(0.72, 1.0), rng.uniform(0.5, 1.05)])
        top, bottom = top * rng.uniform(0.25, 0.6), bottom * glow * rng.uniform(0.45, 0.8)
    return np.clip(top, 0, 255), np.clip(bottom, 0, 255)
