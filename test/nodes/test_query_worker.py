"""The thread that answers: order, bounds, following, failures, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, MaskTrack
from vseg_ros.nodes.query_worker import QueryWorker, Shown
from vseg_ros.nodes.stream_monitor import StreamMonitor


def frame(stamp: int, size: tuple[int, int] = (4, 6)) -> Frame:
    image = np.zeros((*size, 3), np.uint8)
    image[1, 2] = 200, 0, 0
    return Frame(image, stamp, 'lens')


WINDOW = [frame(1), frame(2), frame(3)]


class Desk:
    """A worker with a gate before every question."""

    def __init__(self, query: Any) -> None:
        self.query = query
        self.gate = threading.Event()
        self.gate.set()
        ask = query.ask

        def gated(frames: Sequence[Frame], text: str) -> MaskTrack:
            assert self.gate.wait(10)
            track: MaskTrack = ask(frames, text)
            return track
        query.ask = gated
        self.shown: list[Shown] = []
        self.looks, self.blind = 0, False
        self.monitor = StreamMonitor()
        self.worker = QueryWorker(query, 3, self.shown.append, self.monitor, self.look)
        self.worker.start()

    def look(self) -> None:
        self.looks += 1
        if self.blind:
            raise ValueError('nothing can be seen')

    def ask(self, text: str, follow: bool = False,
            frames: Sequence[Frame] = WINDOW) -> Future[str]:
        return self.worker.ask(frames, text, follow,
                               lambda frames, track: f'{len(frames)}: {track.text}')

    def follow(self, text: str) -> None:
        self.ask(text, follow=True).result(10)
        self.until(lambda: self.worker.following == text)

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.005)

    @property
    def stamps(self) -> list[int]:
        return [each.frame.stamp for each in self.shown]


@pytest.fixture
def desk(color_query: ModuleType) -> Iterator[Desk]:
    desk = Desk(color_query.ColorQuery())
    yield desk
    desk.gate.set()
    desk.worker.stop(10)


def test_answers_in_order_and_shows_the_last_frame(desk: Desk) -> None:
    answers = [desk.ask(text) for text in ('the red one', 'the green one')]
    assert [each.result(10) for each in answers] == ['3: Here it is.',
                                                     '3: There is no such thing.']
    assert [text for text, _ in desk.query.asked] == ['the red one', 'the green one']
    assert desk.query.asked[0][1] == [1, 2, 3]
    assert desk.stamps == [3, 3]
    assert desk.shown[0].mask.sum() == 1
    assert (desk.shown[0].question, desk.shown[0].answer) == ('the red one', 'Here it is.')
    assert not desk.worker.following


def test_looking_at_the_state_must_not_end_the_thread(desk: Desk) -> None:
    desk.blind = True
    for _ in range(3):
        assert desk.ask('the red one').result(10)
    desk.until(lambda: desk.looks >= 2)


def test_one_too_many_is_refused_and_the_others_are_answered(desk: Desk) -> None:
    desk.gate.clear()
    first = desk.ask('the red one')
    desk.until(lambda: desk.worker._current)
    waiting = [desk.ask('the red one') for _ in range(3)]
    with pytest.raises(UserError, match='3 queries wait already, as many as max_queries lets'):
        desk.ask('the red one')
    desk.gate.set()
    assert {each.result(10) for each in (first, *waiting)} == {'3: Here it is.'}


def test_every_new_frame_is_followed_until_the_next_question(desk: Desk) -> None:
    desk.worker.put(frame(4), 0)
    desk.follow('the red one')
    for stamp in (5, 6, 7):
        desk.worker.put(frame(stamp), time.monotonic_ns())
        desk.until(lambda stamp=stamp: desk.stamps[-1] == stamp)
    assert desk.stamps == [3, 5, 6, 7]
    assert desk.monitor.report(time.monotonic_ns()).frames_out == 3
    desk.ask('the green one').result(10)
    desk.worker.put(frame(8), 0)
    desk.until(lambda: not desk.worker.following)
    assert desk.ask('the blue one').result(10)
    assert desk.query.stepped == [5, 6, 7]


def test_answer_is_shown_as_it_is_now(desk: Desk) -> None:
    desk.follow('the red one')
    for stamp in (5, 6, 7):
        shown = Frame(np.zeros((4, 6, 3), np.uint8), stamp) if stamp == 6 else frame(stamp)
        desk.worker.put(shown, 0)
        desk.until(lambda stamp=stamp: desk.stamps[-1] == stamp)
    assert [each.answer for each in desk.shown] == [
        'Here it is.', 'Here it is.', 'There is no such thing.', 'Here it is.']


def test_stop_also_calls_off_what_waits_to_be_followed(desk: Desk) -> None:
    assert desk.worker.stop_following() == ''
    desk.follow('the red one')
    assert desk.worker.stop_following() == 'the red one'
    desk.gate.clear()
    answers = [desk.ask('the blue one', follow=True), desk.ask('the green one', follow=True)]
    desk.until(lambda: desk.worker._current)
    assert desk.worker.stop_following() == 'the green one'
    desk.gate.set()
    assert all(each.result(10) for each in answers)
    desk.worker.put(frame(9), 0)
    time.sleep(0.05)
    assert not desk.worker.following
    assert desk.query.stepped == []


def test_stop_at_the_last_moment_counts_too(desk: Desk) -> None:
    begin = desk.query.follow

    def called_off() -> Any:
        follower = begin()
        assert desk.worker.stop_following() == 'the red one'
        return follower
    desk.query.follow = called_off
    desk.ask('the red one', follow=True).result(10)
    assert not desk.worker.following


def test_frame_at_hand_is_not_shown_once_following_is_stopped(desk: Desk) -> None:
    begin = desk.query.follow

    def gated() -> Any:
        follower = begin()
        step = follower.step

        def slow_step(frame: Frame) -> MaskTrack:
            assert desk.gate.wait(10)
            track: MaskTrack = step(frame)
            return track
        follower.step = slow_step
        return follower
    desk.query.follow = gated
    desk.follow('the red one')
    desk.gate.clear()
    desk.worker.put(frame(5), 0)
    desk.until(lambda: desk.worker._frame is None)
    assert desk.worker.stop_following() == 'the red one'
    desk.gate.set()
    desk.ask('the blue one').result(10)
    assert desk.query.stepped == [5]
    assert desk.stamps == [3, 3]


def test_frames_to_follow_do_not_queue(desk: Desk) -> None:
    desk.follow('the red one')
    with desk.worker._changed:
        for stamp in (5, 6, 7):
            desk.worker.put(frame(stamp), 0)
    desk.until(lambda: desk.stamps[-1] == 7)
    assert desk.stamps == [3, 7]
    assert desk.monitor.report(0).frames_dropped == 2


@pytest.mark.parametrize('again', [frame(2), frame(9, (8, 8))])
def test_camera_that_begins_anew_is_asked_about_again(desk: Desk, again: Frame) -> None:
    desk.follow('the red one')
    desk.worker.put(frame(5), 0)
    desk.until(lambda: desk.stamps[-1] == 5)
    desk.worker.put(again, 0)
    desk.until(lambda: desk.stamps[-1] == again.stamp)
    assert desk.query.asked[-1] == ('the red one', [again.stamp])
    after = frame(again.stamp + 1, again.size)
    desk.worker.put(after, 0)
    desk.until(lambda: desk.stamps[-1] == after.stamp)
    assert desk.query.stepped[-1] == after.stamp
    assert not desk.worker.trouble


@pytest.mark.parametrize(('text', 'said'), [
    ('explode', 'a query failed: RuntimeError: it exploded'),
    ('memory', r'a query failed: out of memory \(no bytes left\): ask about fewer frames')])
def test_question_that_fails_costs_itself_alone(
        desk: Desk, caplog: pytest.LogCaptureFixture, text: str, said: str) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match=said):
            desk.ask(text).result(10)
    assert desk.worker.trouble.startswith('a query failed: ')
    assert len(caplog.records) == 1, 'each kind of failure is logged once'
    assert bool(caplog.records[0].exc_info) == (text == 'explode')
    assert desk.ask('the red one').result(10) == '3: Here it is.'
    assert desk.worker.trouble == ''


def test_what_the_user_got_wrong_is_no_trouble_of_the_node(desk: Desk) -> None:
    with pytest.raises(UserError, match='out of order'):
        desk.ask('the red one', frames=WINDOW[::-1]).result(10)
    assert desk.worker.trouble == ''


def test_frame_that_fails_costs_itself_alone(desk: Desk) -> None:
    desk.follow('stumble over the red one')
    for stamp in (5, 6, 7):
        desk.worker.put(frame(stamp), 0)
        desk.until(lambda stamp=stamp: desk.query.stepped[-1:] == [stamp])
        if stamp == 6:
            desk.until(lambda: 'RuntimeError: it stumbled' in desk.worker.trouble)
    desk.until(lambda: desk.stamps == [3, 5, 7])
    desk.until(lambda: desk.worker.trouble == '')
    assert desk.monitor.report(0).frames_rejected == 1


def test_pause_refuses_what_waits_and_lets_the_one_at_hand_be_answered(desk: Desk) -> None:
    desk.gate.clear()
    at_hand = desk.ask('the red one', follow=True)
    desk.until(lambda: desk.worker._current)
    waiting = desk.ask('the red one')
    desk.worker.pause('deactivated')
    with pytest.raises(UserError, match='deactivated'):
        waiting.result(0)
    desk.gate.set()
    assert at_hand.result(10)
    assert desk.ask('the green one').result(10)
    assert not desk.worker.following


def test_every_question_is_told_when_the_thread_ends(desk: Desk) -> None:
    desk.gate.clear()
    answers = [desk.ask('the red one') for _ in range(3)]
    desk.until(lambda: desk.worker._current)
    assert not desk.worker.stop(0.05)
    for each in answers:
        with pytest.raises(UserError, match='the node is shutting down'):
            each.result(0)
    with pytest.raises(UserError, match='the node is shutting down'):
        desk.ask('the red one')
    desk.gate.set()
    assert desk.worker.stop(10)
    assert desk.shown == [], 'nothing is published any more'


def test_idle_thread_ends_at_once(desk: Desk) -> None:
    desk.ask('the red one').result(10)
    assert desk.worker.stop(10)
    desk.worker.put(frame(4), 0)
    assert desk.worker.stop_following() == ''
