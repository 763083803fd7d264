"""The mailbox between a camera's callback and the worker."""

from __future__ import annotations

import threading
import time

from vseg_ros.nodes.mailbox import Mailbox


def test_newest_wins_and_a_replaced_item_is_told() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert [mailbox.put(1), mailbox.put(2), mailbox.put(3)] == [False, True, True]
    assert mailbox.take(0) == 3
    assert mailbox.take(0) is None
    assert mailbox.put(4) is False


def test_a_false_item_is_an_item() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(0)
    assert mailbox.put(0) is True
    assert mailbox.take(0) == 0


def test_take_waits_for_an_item_of_another_thread() -> None:
    mailbox: Mailbox[str] = Mailbox()
    timer = threading.Timer(0.1, mailbox.put, ['frame'])
    timer.start()
    assert mailbox.take(30) == 'frame'
    timer.join()


def test_take_gives_up_after_its_timeout() -> None:
    started = time.monotonic()
    assert Mailbox[int]().take(0.1) is None
    assert time.monotonic() - started >= 0.09


def test_clear_tells_what_it_threw_away() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.clear() == 0
    mailbox.put(1)
    assert mailbox.clear() == 1
    assert mailbox.take(0) is None


def test_close_wakes_who_waits_and_takes_nothing_more() -> None:
    mailbox: Mailbox[int] = Mailbox()
    timer = threading.Timer(0.1, mailbox.close)
    timer.start()
    started = time.monotonic()
    assert mailbox.take(60) is None
    assert time.monotonic() - started < 30
    timer.join()
    assert mailbox.put(1) is False
    assert mailbox.take(60) is None


def test_close_drops_what_waits() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    mailbox.close()
    assert mailbox.take(0) is None


def test_every_item_is_taken_or_counted_as_replaced() -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int] = []
    finished = threading.Event()

    def take_all() -> None:
        while (item := mailbox.take(0.05)) is not None or not finished.is_set():
            if item is not None:
                taken.append(item)

    worker = threading.Thread(target=take_all)
    worker.start()
    replaced = sum(mailbox.put(item) for item in range(5000))
    finished.set()
    worker.join(60)
    assert len(taken) + replaced == 5000
    assert taken == sorted(taken)
    assert taken[-1] == 4999
