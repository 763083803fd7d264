"""The worker thread: frames in, segmentations out, commands between, and nothing ends it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.labels import DRIVING, LabelSet
from vseg_ros.nodes.stream_monitor import StreamMonitor, StreamReport
from vseg_ros.nodes.worker import Worker
from vseg_ros.pipeline import PipelineState, PipelineStatus

SIZE = 4, 6


class ClipPipeline:
    """Answers `length` frames at once; `before_step` and `before_finish` may block or raise."""

    label_set: LabelSet = DRIVING
    status = PipelineStatus(PipelineState.RUNNING)

    def __init__(self, length: int, before_step: Callable[[Frame], None]) -> None:
        self.length = length
        self.before_step = before_step
        self.before_finish: Callable[[], None] = lambda: None
        self.threads: set[int] = set()
        self.finished = threading.Event()
        self._clip: list[Frame] = []

    def step(self, frame: Frame) -> list[Segmentation]:
        self.threads.add(threading.get_ident())
        self.before_step(frame)
        self._clip.append(frame)
        if len(self._clip) < self.length:
            return []
        return self.close()

    def finish(self) -> list[Segmentation]:
        self.finished.set()
        self.before_finish()
        return self.close()

    def close(self) -> list[Segmentation]:
        clip, self._clip = self._clip, []
        return [Segmentation(np.zeros(SIZE, np.uint8), np.ones(SIZE, np.float32), DRIVING,
                             each.stamp, each.frame_id) for each in clip]


class Bench:
    """A worker over a pipeline, and all that it published."""

    def __init__(self, length: int = 1,
                 before_step: Callable[[Frame], None] = lambda frame: None,
                 patience: float | None = None) -> None:
        self.pipeline = ClipPipeline(length, before_step)
        self.monitor = StreamMonitor()
        self.published: list[tuple[Frame, Segmentation]] = []
        self.looks = 0
        self.worker: Worker[int] = Worker(self.pipeline, self.decode, self.publish, self.monitor,
                                          self.look, patience)
        self.worker.start()

    def decode(self, message: int) -> Frame:
        if message < 0:
            raise UserError(f'message {message} is damaged')
        return Frame(np.zeros((*SIZE, 3), np.uint8), message, f'camera_{message}')

    def publish(self, frame: Frame, segmentation: Segmentation) -> None:
        self.published.append((frame, segmentation))

    def look(self) -> None:
        self.looks += 1

    def put(self, message: int) -> None:
        self.monitor.received(message, time.monotonic_ns())
        self.worker.put(message)

    def send(self, *messages: int) -> None:
        """Put messages, each when the one before was dealt with."""
        for message in messages:
            before = self.dealt_with()
            self.put(message)
            wait_until(lambda before=before: self.dealt_with() > before)

    def dealt_with(self) -> int:
        return self.looks + self.report().frames_rejected

    def report(self) -> StreamReport:
        return self.monitor.report(time.monotonic_ns())


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not come about in time'
        time.sleep(0.002)


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """Function of Bench's arguments; the workers are stopped at the end."""
    made: list[Bench] = []

    def make(*arguments: Any, **options: Any) -> Bench:
        made.append(Bench(*arguments, **options))
        return made[-1]
    yield make
    for each in made:
        each.worker.stop(10)


def test_every_frame_gets_its_segmentation(bench: Callable[..., Bench]) -> None:
    line = bench()
    line.send(5, 6, 7)
    assert [(frame.stamp, segmentation.stamp) for frame, segmentation in line.published] == [
        (5, 5), (6, 6), (7, 7)]
    report = line.report()
    assert (report.frames_out, report.frames_dropped, report.frames_rejected) == (3, 0, 0)
    assert line.pipeline.threads.isdisjoint({threading.get_ident()})


def test_segmentations_of_a_clip_keep_their_own_frames(bench: Callable[..., Bench]) -> None:
    line = bench(length=3)
    line.send(1, 2, 3, 4)
    assert [frame.frame_id for frame, _ in line.published] == ['camera_1', 'camera_2', 'camera_3']


def stamps(line: Bench) -> list[int]:
    """Return the stamps of what was published; each segmentation has its own frame."""
    assert all(frame.stamp == segmentation.stamp for frame, segmentation in line.published)
    return [frame.stamp for frame, _ in line.published]


def test_frames_of_a_camera_that_stops_are_answered(bench: Callable[..., Bench]) -> None:
    line = bench(length=3, patience=0.3)
    line.send(1, 2)
    wait_until(lambda: line.report().frames_out == 2)
    assert stamps(line) == [1, 2]
    assert line.report().latency_max > 0.3, 'the wait belongs to it'
    line.send(3, 4, 5)
    assert stamps(line) == [1, 2, 3, 4, 5], 'a new clip has begun'
    assert line.report().frames_rejected == 0


def test_waiting_frames_are_answered_when_asked_for(bench: Callable[..., Bench]) -> None:
    line = bench(length=3, patience=1000)
    line.send(1, 2)
    assert line.published == []
    line.worker.answer_waiting().result(10)
    assert stamps(line) == [1, 2]
    line.pipeline.finished.clear()
    line.worker.answer_waiting().result(10)
    assert not line.pipeline.finished.is_set(), 'nothing waits'


def test_pipeline_without_patience_is_finished_at_its_end_alone(
        bench: Callable[..., Bench]) -> None:
    def fail(frame: Frame) -> None:
        if frame.stamp == 2:
            raise ZeroDivisionError
    line = bench(3, fail)
    line.send(1, 2)
    line.worker.answer_waiting().result(10)
    assert not line.pipeline.finished.is_set()
    assert line.worker.stop(10)
    assert line.pipeline.finished.is_set()


def test_failed_step_leaves_no_frame_waiting(bench: Callable[..., Bench]) -> None:
    def fail(frame: Frame) -> None:
        if frame.stamp == 3:
            line.pipeline.close()
            raise ZeroDivisionError
        if frame.stamp == 6:
            raise ZeroDivisionError
    line = bench(3, fail, patience=1000)
    line.send(1, 2, 3)
    assert line.report().frames_rejected == 3, 'the pipeline has lost those before as well'
    line.send(4, 5, 6)
    assert stamps(line) == [4, 5], 'these it still had'
    assert line.report().frames_rejected == 4


def test_finish_that_fails_costs_what_waited(bench: Callable[..., Bench]) -> None:
    def fail() -> None:
        line.pipeline.before_finish = lambda: None
        line.pipeline.close()
        raise ZeroDivisionError
    line = bench(length=3, patience=1000)
    line.pipeline.before_finish = fail
    line.send(1, 2)
    line.worker.answer_waiting().result(10)
    assert line.report().frames_rejected == 2
    assert 'ZeroDivisionError' in line.worker.trouble
    line.send(3, 4, 5)
    assert stamps(line) == [3, 4, 5]
    assert line.worker.trouble == ''


def test_frames_that_are_passed_over_are_counted(bench: Callable[..., Bench]) -> None:
    def forget(frame: Frame) -> None:
        if frame.stamp == 3:
            line.pipeline.close()
    line = bench(3, forget)
    line.send(1, 2, 3, 4, 5)
    assert stamps(line) == [3, 4, 5]
    assert line.report().frames_rejected == 2
    assert line.report().last_rejection.startswith('no segmentation came for the image of')


def test_newest_frame_wins_while_the_pipeline_is_busy(bench: Callable[..., Bench]) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def block(frame: Frame) -> None:
        busy.set()
        assert go_on.wait(10)
    line = bench(before_step=block)
    line.put(1)
    assert busy.wait(10)
    for message in (2, 3, 4, 5):
        line.put(message)
    go_on.set()
    wait_until(lambda: len(line.published) == 2)
    assert [frame.stamp for frame, _ in line.published] == [1, 5]
    assert line.report().frames_dropped == 3


def test_bad_messages_are_counted_and_logged_once_in_a_while(
        bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture) -> None:
    line = bench()
    line.send(*[-1] * 50, 3)
    assert line.report().frames_rejected == 50
    assert [frame.stamp for frame, _ in line.published] == [3]
    assert [record.getMessage() for record in caplog.records] == [
        'an image was passed over: message -1 is damaged']


def test_failures_are_logged_once_a_kind_and_the_next_frame_is_answered(
        bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture) -> None:
    def fail(frame: Frame) -> None:
        if frame.stamp < 10:
            raise ZeroDivisionError('weights are gone')
        if frame.stamp < 20:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory.\nTried to allocate 2 GiB')
    line = bench(before_step=fail)
    line.send(1, 2, 3, 11, 12)
    assert line.worker.trouble == (
        'the last image gave no segmentation: out of memory (CUDA out of memory. Tried to '
        'allocate 2 GiB): lower input_size or take a smaller segmenter')
    first, second = caplog.records
    assert 'ZeroDivisionError: weights are gone' in first.getMessage()
    assert first.exc_info is not None, 'a defect is logged with its traceback'
    assert 'out of memory' in second.getMessage()
    assert second.exc_info is None, 'want of memory is no defect'
    line.send(30)
    assert [frame.stamp for frame, _ in line.published] == [30]
    assert line.worker.trouble == ''
    assert line.report().frames_rejected == 5


def test_failure_within_a_clip_costs_one_frame(bench: Callable[..., Bench]) -> None:
    def fail(frame: Frame) -> None:
        if frame.stamp == 2:
            raise ZeroDivisionError
    line = bench(length=2, before_step=fail)
    line.send(1, 2, 3)
    assert [frame.stamp for frame, _ in line.published] == [1, 3]


def test_failed_frame_is_forgotten_even_if_the_next_has_its_stamp(
        bench: Callable[..., Bench]) -> None:
    seen: list[Frame] = []

    def fail_once(frame: Frame) -> None:
        seen.append(frame)
        if len(seen) == 1:
            raise ZeroDivisionError
    line = bench(before_step=fail_once)
    line.send(7, 7)
    assert [frame for frame, _ in line.published] == seen[1:]


def test_commands_run_on_the_thread_of_the_pipeline(bench: Callable[..., Bench]) -> None:
    line = bench()
    line.send(1)
    assert {line.worker.submit(threading.get_ident).result(10)} == line.pipeline.threads

    def refuse() -> None:
        raise UserError('not now')
    with pytest.raises(UserError, match='not now'):
        line.worker.submit(refuse).result(10)
    line.send(2)
    assert len(line.published) == 2


def test_command_waits_for_the_frame_under_way(bench: Callable[..., Bench]) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def block(frame: Frame) -> None:
        busy.set()
        assert go_on.wait(10)
    line = bench(before_step=block)
    line.put(1)
    assert busy.wait(10)
    command = line.worker.submit(lambda: len(line.published))
    time.sleep(0.1)
    assert not command.done()
    go_on.set()
    assert command.result(10) == 1


def test_stop_finishes_the_pipeline_and_refuses_commands(bench: Callable[..., Bench]) -> None:
    line = bench()
    line.send(1)
    assert line.worker.stop(10)
    assert line.pipeline.finished.is_set()
    line.put(2)
    with pytest.raises(UserError, match='stopping'):
        line.worker.submit(lambda: None).result(10)
    assert len(line.published) == 1


def test_a_command_that_comes_while_the_thread_ends_is_refused(
        bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look whether it ends and the command's place in the queue."""
    line = bench()

    class StopsFirst(queue.Queue[object]):
        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
            assert line.worker.stop(10)
            super().put(item, block, timeout)

    monkeypatch.setattr(line.worker, '_commands', StopsFirst())
    with pytest.raises(UserError, match='stopping'):
        line.worker.submit(lambda: None).result(10)


def test_stop_does_not_wait_for_ever_and_nothing_is_published_after_it(
        bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def block(frame: Frame) -> None:
        busy.set()
        assert go_on.wait(10)
    line = bench(before_step=block)
    line.put(1)
    assert busy.wait(10)
    waiting = line.worker.submit(lambda: None)
    began = time.monotonic()
    assert not line.worker.stop(0.2)
    assert time.monotonic() - began < 2
    go_on.set()
    assert line.pipeline.finished.wait(10)
    assert line.published == []
    with pytest.raises(UserError, match='stopping'):
        waiting.result(10)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
