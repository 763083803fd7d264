"""
Processes that take turns: for what can only be set before a process starts.

A script starts itself again with `--serve NAME` and another environment (`TurningProcess`). The
process gets ready, and then measures so many times whenever it is told to (`serve`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from vseg_ros.errors import UserError

_READY = 'ready'


def serve(action: Callable[[int], object]) -> None:
    """
    Measure `action` as often as every line of standard input says; print seconds as JSON.

    Args:
        action: is called with a number that goes on from turn to turn.

    """
    print(_READY, flush=True)
    number = 0
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            action(number)
            seconds.append(time.perf_counter() - start)
            number += 1
        print(json.dumps(seconds), flush=True)


class TurningProcess:
    """
    A script that was started again to `serve`; a context manager, which ends it.

    Args:
        script: path of the script.
        name: what it is to serve.
        environment: variables that differ from those of this process.

    """

    def __init__(self, script: str, name: str, environment: Mapping[str, str]) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, script, '--serve', name], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def __enter__(self) -> TurningProcess:
        """
        Wait until it is ready.

        Raises:
            UserError: it did not start.

        """
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != _READY:
            self._process.kill()
            raise UserError(f'{self._name} did not start')
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def turn(self, times: int) -> list[float]:
        """Let it measure so many times; return the seconds of each."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(times, file=self._process.stdin, flush=True)
        seconds: list[float] = json.loads(self._process.stdout.readline())
        return seconds
