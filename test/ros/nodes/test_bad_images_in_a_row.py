"""Thousands of malformed and random images, then a good one: it is answered, memory is flat."""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sensor_msgs.msg import Image

from vseg_ros.errors import UserError
from vseg_ros.io.image_message import SUPPORTED_ENCODINGS
from vseg_ros.nodes.conversions import frame_of, header_of

IMAGES = 2_000
SETTLED = IMAGES // 2
PERIOD = 0.003  # seconds; a refusal takes less, so most images are looked at
PAYLOAD = 64 * 1024
"""Most bytes in an image: so many that keeping the images would be seen."""
LOG_PERIOD = 5.0
"""Seconds between two lines about bad images."""
GROWTH = 5.0
"""MiB that the node may grow in the second half, whose images hold four times as many."""

_ENCODINGS = (*SUPPORTED_ENCODINGS, '', 'rgb16', '32FC1', 'RGB8', 'nonsense', 'ä' * 50)


def random_image(dice: random.Random, stamp: int) -> Image:
    """Make an image whose fields fit each other now and then, but seldom."""
    encoding = dice.choice(_ENCODINGS)
    height, width = (dice.choice((0, 1, 2, 7, 40, 96, dice.randrange(2**32))) for _ in range(2))
    step = dice.choice((0, 1, width, 2 * width, 3 * width, 4 * width, 3 * width + 5,
                        dice.randrange(2**32))) % 2**32
    fitting = min(height * step, PAYLOAD)
    length = dice.choice((0, 1, fitting, max(0, fitting - 1), min(fitting * 3 // 2, PAYLOAD),
                          PAYLOAD))
    return Image(header=header_of(stamp, 'lens'), height=height, width=width, encoding=encoding,
                 step=step, is_bigendian=dice.choice((0, 1, 255)),
                 data=array('B', dice.randbytes(length)))


def bad_image(dice: random.Random, stamp: int) -> Image:
    """Make an image that cannot be decoded."""
    while True:
        image = random_image(dice, stamp)
        try:
            frame_of(image)
        except UserError:
            return image


def memory(process: int) -> float:
    """Return the MiB that a process holds."""
    lines = Path(f'/proc/{process}/status').read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith('VmRSS'))


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs /proc to see memory')
def test_they_cost_no_more_than_themselves(start: Callable[..., Any], camera: Any, ears: Any,
                                           ros: Any) -> None:
    node = start({'status_period': 0.2})
    node.transition('configure', 'activate')
    camera.film_until(lambda: ears.state == 'FROZEN')
    dice, settled, bytes_sent = random.Random(0), 0.0, 0
    began = time.monotonic()
    for index in range(IMAGES):
        if index == SETTLED:
            settled, bytes_sent = memory(node.process.pid), 0
        # Those that can be decoded fill the caches of torch, each size for itself.
        make = random_image if index < SETTLED else bad_image
        message = make(dice, camera.sent * 100_000_000 + index)
        bytes_sent += len(message.data)
        next_time = time.monotonic() + PERIOD
        camera.publisher.publish(message)
        while time.monotonic() < next_time:
            ros.executor.spin_once(timeout_sec=0.001)
    seconds, heard = time.monotonic() - began, len(ears.statuses)

    def dealt_with() -> bool:
        status = ears.statuses[-1]
        return bool(len(ears.statuses) > heard + 2 and status.frames_in == (
            status.frames_out + status.frames_rejected + status.frames_dropped))
    ros.until(dealt_with)
    growth = memory(node.process.pid) - settled
    status = ears.statuses[-1]
    print(f'{camera.sent} good and {IMAGES} bad images sent, {status.frames_in} came: '
          f'{status.frames_rejected} refused, {status.frames_out} segmented, '
          f'{status.frames_dropped} dropped; {growth:+.1f} MiB after the first {SETTLED}, '
          f'{bytes_sent / 2**20:.0f} MiB of images since')
    # On a busy machine more of them are passed over for the next.
    assert status.frames_rejected > IMAGES / 8
    assert growth < GROWTH
    assert node.log.count('an image was passed over') <= 2 + seconds / LOG_PERIOD

    answers = len(ears.segmentations)
    camera.film_until(lambda: len(ears.segmentations) > answers)
    ros.until(lambda: not ears.statuses[-1].message)
    assert ears.state == 'FROZEN'
    assert 'Traceback' not in node.log
