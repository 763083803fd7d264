"""
When an image was taken: its header's stamp, where a driver has set one.

A stamp of zero is mostly one that a driver left out, and then the receive time stands for it. But
the clock of a simulation or of a converted video begins at zero, and there the first image has
that stamp by right. What comes next tells: a little later by the same clock, or a date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from vseg_ros.io.bag_file import RawMessage
from vseg_ros.io.message_types import stamp_of

_LONGEST_RECORDING = 365 * 24 * 3600 * 10 ** 9
"""Stamps below it, in nanoseconds, are no date but the time since a recording began."""


class Stamped(NamedTuple):
    """
    A message of a bag and its time.

    Attributes:
        message: as deserialized; it has a header.
        raw: as recorded.
        stamp: nanoseconds.

    """

    message: Any
    raw: RawMessage
    stamp: int


def stamped(messages: Iterable[tuple[Any, RawMessage]]) -> Iterator[Stamped]:
    """
    Give the messages of a topic their stamps.

    Args:
        messages: deserialized and raw, in the order of the bag. The second is read before the
            first is yielded if that has a stamp of zero.

    """
    rest = iter(messages)
    head = list(islice(rest, 1))
    if head and not stamp_of(head[0][0]):
        head += islice(rest, 1)
    begins_at_zero = len(head) == 2 and 0 < stamp_of(head[1][0]) < _LONGEST_RECORDING
    for number, (message, raw) in enumerate(chain(head, rest)):
        left_out = raw.log_time if number or not begins_at_zero else 0
        yield Stamped(message, raw, stamp_of(message) or left_out)
