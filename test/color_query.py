"""
A small `VideoQuery` for the tests: it finds the pixels of the colour that the sentence names.

Some words make it slow or let it fail, as a large model on a small machine would.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from vseg_ros.frame import BoolArray, Frame, MaskTrack
from vseg_ros.video_query import check_question, check_window

CHANNELS = {'red': 0, 'green': 1, 'blue': 2}
SLOW = 1.5
"""Seconds that a slow question takes, all of them in Python, with the interpreter locked."""


def find(frame: Frame, text: str) -> BoolArray:
    """Return bool [H, W]: where the colour that is named is at least twice the others."""
    image = frame.image.astype(np.int32)
    channel = next((CHANNELS[word] for word in text.split() if word in CHANNELS), None)
    if channel is None:
        return np.zeros(frame.size, np.bool_)
    rest = np.delete(image, channel, axis=2).max(2)
    found: BoolArray = image[..., channel] > 2 * rest + 20
    return found


class ColorQuery:
    """Answers by colour; counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self.stepped: list[int] = []
        self._text = ''

    def ask(self, frames: Sequence[Frame], text: str) -> MaskTrack:
        text = check_question(text)
        check_window(frames)
        self.asked.append((text, [frame.stamp for frame in frames]))
        self._text = text
        _obey(text)
        return _track(frames, text)

    def follow(self) -> ColorFollower:
        if not self._text:
            raise ValueError('nothing has been asked yet')
        return ColorFollower(self, self._text)


class ColorFollower:
    """Looks for the colour in every new frame."""

    def __init__(self, query: ColorQuery, text: str) -> None:
        self._query = query
        self._last: Frame | None = None
        self.text = text

    def step(self, frame: Frame) -> MaskTrack:
        last = self._last
        if last is not None and (frame.stamp <= last.stamp or frame.size != last.size):
            raise ValueError('the frame is not newer, or of another size')
        self._last = frame
        self._query.stepped.append(frame.stamp)
        if 'stumble' in self.text and len(self._query.stepped) == 2:
            raise RuntimeError('it stumbled')
        return _track([frame], self.text)


def _obey(text: str) -> None:
    if 'slow' in text:
        end = time.monotonic() + SLOW
        while time.monotonic() < end:
            sum(range(1000))
    if 'explode' in text:
        raise RuntimeError('it exploded')
    if 'memory' in text:
        raise MemoryError('no bytes left')


def _track(frames: Sequence[Frame], text: str) -> MaskTrack:
    masks = np.stack([find(frame, text) for frame in frames])
    visible = masks.any((1, 2))
    words = 'Here it is.' if visible.any() else 'There is no such thing.'
    return MaskTrack(masks, tuple(frame.stamp for frame in frames), visible,
                     float(visible.mean()), words)
