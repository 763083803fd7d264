"""
What answers a sentence with a mask track, and the one place that makes it.

`ask` looks at a window of frames; `follow` goes on from the last answer, one frame at a time. What
is computed of a frame is kept as long as the frame is among those asked about, so that a second
question about the same window costs little. Neither is safe to call from two threads at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, MaskTrack
from vseg_ros.settings import VirstSettings

LONGEST_QUESTION = 1000
"""Most characters of a question."""


class Follower(Protocol):
    """Goes on with an answered question in every new frame."""

    @property
    def text(self) -> str:
        """The question."""
        ...

    def step(self, frame: Frame) -> MaskTrack:
        """
        Find the object in the next frame.

        Args:
            frame: newer than those before, and of their size.

        Returns:
            a track of this one frame; its text is the answer as it is now, which changes when the
            object comes into view or leaves it.

        Raises:
            ValueError: the frame is not newer, or of another size.

        """
        ...


@runtime_checkable
class VideoQuery(Protocol):
    """A method that answers sentences about a video."""

    def ask(self, frames: Sequence[Frame], text: str) -> MaskTrack:
        """
        Find what a sentence names.

        Args:
            frames: the window, in order of time, all of one size; at least one.
            text: the sentence.

        Returns:
            a mask for every frame, all empty if nothing matches; the answer in words and its
            score.

        Raises:
            UserError: no frame, frames out of order or of several sizes, or an empty or too long
                text.

        """
        ...

    def follow(self) -> Follower:
        """
        Go on from the last answer.

        Raises:
            ValueError: nothing has been asked yet.

        """
        ...


class LastingFollower:
    """
    Goes on with the last answer in whatever a camera sends; see `Follower`.

    Stamps that fall or stand still, and images of another size, tell of a camera that has begun
    anew, as a bag that is played in a loop. There so does the question.

    Args:
        query: what has just answered.
        text: the question.
        last: the newest frame that it was asked about.

    """

    def __init__(self, query: VideoQuery, text: str, last: Frame) -> None:
        self._query, self._text, self._last = query, text, last
        self._follower = query.follow()

    @property
    def text(self) -> str:
        """The question."""
        return self._text

    def step(self, frame: Frame) -> MaskTrack:
        """Find the object in the next frame, whatever its stamp and size."""
        if frame.stamp > self._last.stamp and frame.size == self._last.size:
            track = self._follower.step(frame)
        else:
            track = self._query.ask([frame], self._text)
            self._follower = self._query.follow()
        self._last = frame
        return track


def check_question(text: str) -> str:
    """
    Return a question without needless white space.

    Raises:
        UserError: it is empty, or longer than `LONGEST_QUESTION` characters.

    """
    words = ' '.join(text.split())
    if not words:
        raise UserError('the question is empty: name an object, such as "the white car"')
    if len(words) > LONGEST_QUESTION:
        raise UserError(f'the question has {len(words)} characters: say it in at most '
                        f'{LONGEST_QUESTION}')
    return words


def check_window(frames: Sequence[Frame]) -> None:
    """
    Check that frames can be asked about together.

    Raises:
        UserError: there is none, they are out of order or of several sizes.

    """
    if not frames:
        raise UserError('there is no frame to look at: give a window that holds images')
    if any(later.stamp <= earlier.stamp for earlier, later in pairwise(frames)):
        raise UserError('the frames are out of order: their stamps must rise')
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        raise UserError(f'the frames have {len(sizes)} sizes: ask about one camera at a time')


def create_video_query(settings: VirstSettings) -> VideoQuery:
    """
    Make the method that answers.

    Raises:
        UserError: its weights or device are not there, or do not fit into the memory.

    """
    from vseg_ros.virst.query import VirstQuery
    return VirstQuery(settings)
