"""
Trials in several processes of this machine.

Every worker is a fresh process (spawn) with a pipe of its own, through which it gets one trial
after the other and says how far it is. So the death of a worker, by the system for want of memory
or by a crash in native code, is seen at once and costs no result but that of its trial, which a
fresh worker tries once more. The processor's threads are shared out among the workers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from vseg_ros.evaluation.trial import (
    Failure,
    Outcome,
    SetupError,
    Trial,
    TrialTick,
    attempt,
)

ATTEMPTS = 2
"""How often a trial is begun whose worker dies."""


@dataclass(frozen=True)
class _Message:
    """What a worker says: how far it is, or how the trial ended, or that none can begin."""

    shown: int = 0
    text: str = ''
    outcome: Outcome | None = None
    setup_error: str = ''


def _work(connection: Connection, threads: int) -> None:
    """Carry out the trials that come through the pipe, until it closes."""
    # A Ctrl-C reaches the whole group of processes; the one that started the workers ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            trial: Trial = connection.recv()
            _use_threads(threads)
            try:
                outcome = attempt(trial, lambda shown, text: connection.send(
                    _Message(shown, text)))
            except SetupError as error:
                connection.send(_Message(setup_error=str(error)))
            else:
                connection.send(_Message(outcome=outcome))
    except (EOFError, OSError):
        # Nobody is left to work for.
        return


def _use_threads(count: int) -> None:
    import cv2
    import torch

    cv2.setNumThreads(count)
    torch.set_num_threads(count)


@contextmanager
def _threads_of_libraries(count: int) -> Iterator[None]:
    """Let processes started in the block load their libraries with so many threads."""
    names = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Worker:
    """A process, the pipe to it, and the trial that it is at."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context('spawn')
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs, threads), daemon=True)
        with _threads_of_libraries(threads):
            self.process.start()
        theirs.close()
        self.trial: Trial | None = None

    def begin(self, trial: Trial) -> None:
        """Hand a trial over; if the worker is dead, its pipe says so when it is read."""
        self.trial = trial
        try:
            self.connection.send(trial)
        except OSError:
            return

    def receive(self) -> _Message | None:
        """Return what the worker said, None if it is dead."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            return None
        assert isinstance(message, _Message)
        return message

    def end(self) -> str:
        """Stop the process; return in words how it ended if it had ended already."""
        self.connection.close()
        self.process.join(0.5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return _how_it_ended(self.process.exitcode or 0)


def _how_it_ended(exit_code: int) -> str:
    if exit_code >= 0:
        return f'exit code {exit_code}'
    name = signal.Signals(-exit_code).name
    return f'{name}, perhaps out of memory' if name == 'SIGKILL' else name


class _Pool:
    """The trials that wait, and the workers."""

    def __init__(self, trials: list[Trial], jobs: int, tick: TrialTick) -> None:
        import torch

        self._waiting = deque(trials)
        self._begun: dict[str, int] = {}
        self._threads = max(1, torch.get_num_threads() // jobs)
        self._tick = tick
        self.workers: list[_Worker] = []
        for _ in range(min(jobs, len(trials))):
            self._employ(_Worker(self._threads))

    def _employ(self, worker: _Worker) -> None:
        """Give a worker its next trial; without one, its process ends."""
        if self._waiting:
            trial = self._waiting.popleft()
            self._begun[trial.key] = self._begun.get(trial.key, 0) + 1
            worker.begin(trial)
            if worker not in self.workers:
                self.workers.append(worker)
        else:
            if worker in self.workers:
                self.workers.remove(worker)
            worker.end()

    def step(self) -> Iterator[tuple[Trial, Outcome]]:
        """Wait until a worker says something or dies; yield the trials that end."""
        ready = wait([worker.connection for worker in self.workers])
        for worker in [worker for worker in self.workers if worker.connection in ready]:
            trial, message = worker.trial, worker.receive()
            assert trial is not None
            if message is None:
                yield from self._bury(worker, trial)
            elif message.setup_error:
                raise SetupError(message.setup_error)
            elif message.outcome is None:
                self._tick(trial, message.shown, message.text)
            else:
                self._employ(worker)
                yield trial, message.outcome

    def _bury(self, worker: _Worker, trial: Trial) -> Iterator[tuple[Trial, Outcome]]:
        """Replace a dead worker and try its trial again, unless it was tried often enough."""
        self.workers.remove(worker)
        how = worker.end()
        retry = self._begun[trial.key] < ATTEMPTS
        if retry:
            self._waiting.appendleft(trial)
        if self._waiting:
            self._employ(_Worker(self._threads))
        if not retry:
            yield trial, Failure(f'{trial.title} failed: its process died {ATTEMPTS} times, the '
                                 f'last with {how}')


def run_in_processes(trials: list[Trial], tick: TrialTick, *, jobs: int,
                     ) -> Generator[tuple[Trial, Outcome], None, None]:
    """
    Carry trials out in `jobs` processes; see `Runner`.

    Raises:
        SetupError: a pipeline cannot be made at all; nothing goes on.

    """
    if not trials:
        return
    pool = _Pool(trials, jobs, tick)
    try:
        while pool.workers:
            yield from pool.step()
    finally:
        for worker in pool.workers:
            worker.process.kill()
            worker.end()
