"""
Speed of the weathers, on one thread.

    python benchmarks/weather.py [--severity 3] [--repeats 10]

Prints the CPU time of painting each weather over a frame of 480x360 and of 1280x720, and its
ratio to the plain alternative: decoding a JPEG of that frame with the weather already in it. Each
time is the best of a few runs, because other work disturbs the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from vseg_ros.datasets.weather import SEVERITIES, WEATHERS, Weather
from vseg_ros.frame import UInt8Array
from vseg_ros.io.street import SyntheticStreet

SIZES = ((360, 480), (720, 1280))


def best_time(work: Callable[[], object], repeats: int) -> float:
    """Return the least CPU time of a few runs, in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times) * 1000


def paint(weather: Weather, image: UInt8Array) -> UInt8Array:
    """Paint the first frame's weather, the generator's start included."""
    return weather(image, np.random.default_rng((0, 0)))


def main() -> None:
    """Time every weather."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--severity', type=int, choices=SEVERITIES, default=3)
    parser.add_argument('--repeats', type=int, default=10)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    for size in SIZES:
        image = SyntheticStreet(0, 1, size)[0].frame.image
        for name in WEATHERS:
            weather = Weather(name, options.severity)
            _, jpeg = cv2.imencode('.jpg', paint(weather, image))
            painting = best_time(partial(paint, weather, image), options.repeats)
            decoding = best_time(partial(cv2.imdecode, jpeg, cv2.IMREAD_COLOR), options.repeats)
            print(f'{size[1]:4d} x {size[0]:3d}  {weather!s:10s}{painting:7.1f} ms a frame, '
                  f'{painting / decoding:5.1f} times a JPEG')


if __name__ == '__main__':
    main()
