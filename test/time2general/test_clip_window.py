"""The frames in sight: how many, and what they may be followed by."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vseg_ros.frame import Frame
from vseg_ros.time2general.clip_window import ClipWindow, SeenFrame
from vseg_ros.time2general.model import PixelFeatures

SECOND = 1_000_000_000


def frame(stamp: int, size: tuple[int, int] = (4, 6)) -> Frame:
    return Frame(np.zeros((*size, 3), np.uint8), stamp)


def seen(stamp: int) -> SeenFrame:
    return SeenFrame(frame(stamp), PixelFeatures(torch.zeros(1, 1, 1), ((1, 1),)),
                     torch.zeros(1, 1, 1, 1))


def stamps(frames: list[SeenFrame]) -> list[int]:
    return [each.frame.stamp for each in frames]


def test_the_last_frames_are_in_sight() -> None:
    window = ClipWindow(3, 2)
    for index in range(5):
        assert window.full is (index >= 3)
        window.add(seen(index))
        assert stamps(window.frames) == list(range(max(index - 2, 0), index + 1))


def test_forgetting_hands_out_what_there_was() -> None:
    window = ClipWindow(3, 2)
    for index in range(2):
        window.add(seen(index))
    assert stamps(window.clear()) == [0, 1]
    assert window.frames == window.clear() == []
    assert not window.full


@pytest.mark.parametrize(('stamp', 'size', 'continues'), [
    (10 * SECOND, (4, 6), True), (10 * SECOND + 1, (4, 6), True), (12 * SECOND, (4, 6), True),
    (12 * SECOND + 1, (4, 6), False), (10 * SECOND - 1, (4, 6), False), (0, (4, 6), False),
    (10 * SECOND + 1, (6, 4), False), (10 * SECOND + 1, (4, 7), False)])
def test_what_continues(stamp: int, size: tuple[int, int], continues: bool) -> None:
    window = ClipWindow(3, 2)
    assert window.continues(frame(stamp, size))
    window.add(seen(9 * SECOND))
    window.add(seen(10 * SECOND))
    assert window.continues(frame(stamp, size)) is continues
    window.clear()
    assert window.continues(frame(stamp, size))
