"""
Speed of the synthetic street, on one thread.

    python benchmarks/street.py [--seeds 6] [--frames 12] [--height 360] [--width 480] [--profile]

Prints CPU time a frame, image, labels, instances and attributes included, and its ratio to the
plain alternative: decoding the same frame's picture and labels from PNG files made beforehand.
Every frame is timed three times and the best counts, because other work disturbs the clock.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from vseg_ros.io.street import StreetFrame, SyntheticStreet

SPACING = 10  # frames between two that are timed, so that the camera gets on
REPEATS = 3


def best_time(work: Callable[[], object]) -> float:
    """Return the least CPU time of a few runs, in milliseconds."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times) * 1000


def decoding_time(item: StreetFrame) -> float:
    """Return the CPU time of reading a frame back from PNG, in milliseconds."""
    stored = [cv2.imencode('.png', array)[1] for array in (
        np.ascontiguousarray(item.frame.image[..., ::-1]), item.labels, item.instances)]
    return best_time(lambda: [cv2.imdecode(data, cv2.IMREAD_UNCHANGED) for data in stored])


def first_frame(seed: int, size: tuple[int, int]) -> StreetFrame:
    """Plan a street and paint its first frame."""
    return SyntheticStreet(seed, 1, size)[0]


def main() -> None:
    """Time the street."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--seeds', type=int, default=6)
    parser.add_argument('--frames', type=int, default=12)
    parser.add_argument('--height', type=int, default=360)
    parser.add_argument('--width', type=int, default=480)
    parser.add_argument('--profile', action='store_true', help='also list the costliest functions')
    options = parser.parse_args()
    cv2.setNumThreads(1)
    size = (options.height, options.width)
    painting, decoding, opening = [], [], []
    for seed in range(options.seeds):
        street = SyntheticStreet(seed, options.frames * SPACING, size)
        for index in range(0, len(street), SPACING):
            painting.append(best_time(partial(street.__getitem__, index)))
            decoding.append(decoding_time(street[index]))
        opening.append(best_time(partial(first_frame, seed, size)))
    mean, plain = np.mean(painting), np.mean(decoding)
    print(f'{size[1]} x {size[0]}, {len(painting)} frames of {options.seeds} streets, one thread')
    print(f'a frame           {mean:7.1f} ms  ({1000 / mean:.1f} frames a second)')
    print(f'slowest frame     {max(painting):7.1f} ms')
    print(f'new street + frame{np.mean(opening):7.1f} ms')
    print(f'PNG decoding      {plain:7.1f} ms  (painting takes {mean / plain:.1f} times as long)')
    if options.profile:
        profiler = cProfile.Profile(time.process_time)
        profiler.runcall(lambda: [street[index] for index in range(0, len(street), SPACING)])
        pstats.Stats(profiler).sort_stats('tottime').print_stats(25)


if __name__ == '__main__':
    main()
