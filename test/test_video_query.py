"""What every query checks, and the one place that makes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.settings import VirstSettings
from vseg_ros.video_query import (
    LONGEST_QUESTION,
    VideoQuery,
    check_question,
    check_window,
    create_video_query,
)


def frame(stamp: int, size: tuple[int, int] = (4, 6)) -> Frame:
    return Frame(np.zeros((*size, 3), np.uint8), stamp)


def test_white_space_goes() -> None:
    assert check_question('\t the  white\n\ncar ') == 'the white car'
    assert check_question('a' * LONGEST_QUESTION) == 'a' * LONGEST_QUESTION
    assert check_question(' ' * 5000 + 'car') == 'car'


@pytest.mark.parametrize(('text', 'said'), [
    ('', 'is empty'), (' \n\t ', 'is empty'), ('a' * 1001, 'has 1001 characters'),
    ('car ' * 2500, 'say it in at most 1000')])
def test_questions_that_are_none(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        check_question(text)
    assert '\n' not in str(caught.value)


def test_windows() -> None:
    check_window([frame(3)])
    check_window([frame(-1), frame(0), frame(5)])


@pytest.mark.parametrize(('frames', 'said'), [
    ([], 'no frame to look at'), ([frame(1), frame(1)], 'out of order'),
    ([frame(1), frame(3), frame(2)], 'out of order'),
    ([frame(1), frame(2, (6, 4))], '2 sizes')])
def test_windows_that_are_none(frames: list[Frame], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_window(frames)


def test_what_is_made(tiny_virst: Path) -> None:
    query = create_video_query(VirstSettings(weights=str(tiny_virst), device='cpu'))
    assert isinstance(query, VideoQuery)
    track = query.ask([frame(0, (48, 64)), frame(1, (48, 64))], 'the red car')
    assert track.masks.shape == (2, 48, 64)
