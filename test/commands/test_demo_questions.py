"""The three questions of the demo."""

from __future__ import annotations

import pytest

from vseg_ros.commands.demo_questions import (
    WANTED,
    ask_questions,
    choose_questions,
    told,
    window_of,
)
from vseg_ros.evaluation.report_questions import questions_section
from vseg_ros.evaluation.street_questions_score import StreetClip
from vseg_ros.frame import MaskTrack


@pytest.fixture(scope='module')
def clip() -> StreetClip:
    # one frame in three of what the demo shows, so that painting is quick
    return window_of(12, 50, 5.0, 2.0)


class Knowing:
    """Answers what it was told is right."""

    def __init__(self, clip, sentences):
        self.truth = {each.text: (clip.masks(each.instances), each.answer) for each in sentences}

    def ask(self, frames, text):
        masks, answer = self.truth[text]
        return MaskTrack(masks, tuple(frame.stamp for frame in frames), masks.any(axis=(1, 2)),
                         1.0, answer)

    def follow(self):
        raise ValueError('nothing to follow')


def test_there_is_one_of_each_and_one_has_no_answer(clip):
    chosen = choose_questions(clip)
    assert [each.kind in kinds for each, kinds in zip(chosen, WANTED, strict=True)] == [True] * 3
    assert [len(each.instances) for each in chosen] == [1, 1, 0]
    assert chosen[0].instances != chosen[1].instances
    assert choose_questions(clip) == chosen


def test_the_right_answers_are_told_to_be_right(clip):
    chosen = choose_questions(clip)
    answered = ask_questions(Knowing(clip, chosen), clip, chosen)
    assert [each.score.jf for each in answered] == [1, 1, 1]
    assert [each.score.no_match for each in answered] == [False, False, True]
    assert told(answered)[0] == f'"{chosen[0].text}": {chosen[0].answer} (J&F 100)'
    page = questions_section(answered)
    assert all(each.text in page for each in chosen)


def test_the_window_is_the_middle_of_the_street():
    clip = window_of(3, 9, 10.0, 0.4)
    assert [frame.stamp for frame in clip.frames] == [200_000_000, 300_000_000, 400_000_000,
                                                      500_000_000]
    assert len(window_of(3, 3, 10.0, 2.0).frames) == 3
