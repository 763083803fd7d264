"""Strips of any height on any number of threads: the same labels and entropies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from vseg_ros.models import strip_scoring
from vseg_ros.models.reliability import upsample
from vseg_ros.models.strip_scoring import score_strips

SmoothLogits = Callable[[int, int, int], Tensor]
SIZE = (50, 81)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize('threads', [1, 2, 3, 8])
@pytest.mark.parametrize('strip_rows', [1, 4, 1000])
def test_rows_are_scored_alike_however_they_are_shared(
        monkeypatch: pytest.MonkeyPatch, set_threads: Callable[[int], None],
        smooth_logits: SmoothLogits, threads: int, strip_rows: int) -> None:
    set_threads(threads)
    monkeypatch.setattr(strip_scoring, '_STRIP_BYTES', strip_rows * 7 * SIZE[1] * 4)
    logits = smooth_logits(7, 12, 20)
    labels, entropy = score_strips(logits, SIZE)
    literal = upsample(logits.double(), SIZE)[0]
    best_two = literal.topk(2, 0).values
    clear = best_two[0] - best_two[1] > 1e-4
    assert (labels == literal.argmax(0))[clear].all()
    shares = literal.log_softmax(0)
    torch.testing.assert_close(entropy, -(shares.exp() * shares).sum(0).float(), rtol=0, atol=1e-5)


def watched_workers(monkeypatch: pytest.MonkeyPatch,
                    begin: Callable[[], object]) -> set[threading.Thread]:
    """Return the set of threads that will have scored; `begin` is called on each, before."""
    workers = set()
    plain = strip_scoring._strips

    def strips(*args: object) -> object:
        workers.add(threading.current_thread())
        begin()
        return plain(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(strip_scoring, '_strips', strips)
    return workers


def test_as_many_threads_as_asked_for_work_at_once(
        monkeypatch: pytest.MonkeyPatch, set_threads: Callable[[int], None],
        smooth_logits: SmoothLogits) -> None:
    meeting = threading.Barrier(3, timeout=10)
    workers = watched_workers(monkeypatch, meeting.wait)
    set_threads(3)
    score_strips(smooth_logits(7, 12, 20), SIZE)
    assert len(workers) == 3


def test_threads_end_with_the_one_that_they_helped(
        monkeypatch: pytest.MonkeyPatch, set_threads: Callable[[int], None],
        smooth_logits: SmoothLogits) -> None:
    workers = watched_workers(monkeypatch, lambda: None)
    set_threads(3)
    scoring = threading.Thread(target=score_strips, args=(smooth_logits(7, 12, 20), SIZE))
    scoring.start()
    scoring.join()
    assert scoring in workers
    for each in workers:
        each.join(timeout=10)
        assert not each.is_alive()


def test_a_single_row_is_no_trouble_for_many_threads(set_threads: Callable[[int], None]) -> None:
    set_threads(8)
    labels, entropy = score_strips(torch.tensor([0., 1.]).view(1, 2, 1, 1), (1, 3))
    assert labels.tolist() == [[1, 1, 1]]
    torch.testing.assert_close(entropy, torch.full((1, 3), 0.58220), rtol=0, atol=1e-4)


def test_scoring_in_several_threads_at_once(set_threads: Callable[[int], None],
                                            smooth_logits: SmoothLogits) -> None:
    set_threads(4)
    videos = [[smooth_logits(7, 12, 20) * scale for scale in (1, 2, 3, 4)] for _ in range(4)]
    expected = [[score_strips(logits, SIZE) for logits in video] for video in videos]
    found: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def score(number: int) -> None:
        found[number] = [score_strips(logits, SIZE) for logits in videos[number]]

    threads = [threading.Thread(target=score, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, video in enumerate(expected):
        for (labels, entropy), (label, sure) in zip(video, found[number], strict=True):
            assert (labels == label).all()
            assert (entropy == sure).all()
