"""
What the tests of damaged input and of faults share: how much is tried, and damage to bytes.

VSEG_FUZZ=N tries N times as many cases, new ones each time; without it they are always the same
few, so that a run takes seconds and repeats itself.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.labels import DRIVING

MEMORY = 700
"""MiB that a test may add to the most that the process ever held."""

_MORE = int(os.environ.get('VSEG_FUZZ', '0'))
for _name, _examples in (('values', 100), ('files', 25), ('slow files', 6)):
    settings.register_profile(
        _name, derandomize=not _MORE, max_examples=_examples * max(1, _MORE), deadline=None,
        database=None, suppress_health_check=[HealthCheck.function_scoped_fixture,
                                              HealthCheck.too_slow,
                                              HealthCheck.data_too_large])


@st.composite
def _edits(draw: st.DrawFn, length: int) -> list[tuple[str, int, int]]:
    """Some ways to damage that many bytes: what is done, where, and with what number."""
    kinds = st.sampled_from(('flip', 'set', 'cut', 'zero', 'remove', 'double', 'number'))
    numbers = st.sampled_from((0, 1, 2**7, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
    places = st.integers(0, max(0, length - 1))
    return draw(st.lists(st.tuples(kinds, places, numbers | st.integers(0, 63)), min_size=1,
                         max_size=4))


def _apply(data: bytes, kind: str, place: int, number: int) -> bytes:
    before, after, some = data[:place], data[place:], number % 64
    if kind == 'flip':
        return before + bytes(value ^ 1 << number % 8 for value in after[:1]) + after[1:]
    if kind == 'set':
        return before + bytes([number % 256])[:len(after)] + after[1:]
    if kind == 'zero':
        return before + bytes(len(after[:some])) + after[some:]
    if kind == 'number':
        return before + number.to_bytes(8, 'little')[:len(after)] + after[8:]
    return before + {'cut': b'', 'remove': after[some:], 'double': after[:some] + after}[kind]


@pytest.fixture(scope='session')
def damaged() -> Callable[[st.DataObject, bytes], bytes]:
    """Function of what Hypothesis draws from, and bytes: the bytes, changed at some places."""
    def damage(data: st.DataObject, whole: bytes) -> bytes:
        for edit in data.draw(_edits(len(whole))):
            whole = _apply(whole, *edit)
        return whole
    return damage


@pytest.fixture(autouse=True)
def no_gigabytes() -> Iterator[None]:
    """See that nothing makes the process take much memory, however large a file claims to be."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEMORY, f'{grown:.0f} MiB more than ever before'


@pytest.fixture
def refusal() -> Callable[[Callable[[], object]], str]:
    """Do something that either works or is refused in one line; return that line, or ''."""
    def check(work: Callable[[], object]) -> str:
        try:
            work()
        except UserError as error:
            line = str(error)
        else:
            return ''
        assert line.strip()
        assert '\n' not in line
        return line
    return check


class Drive:
    """Six small labelled pictures of a drive, as a source."""

    name, path, frame_count, label_set = 'drive', None, 6, DRIVING

    def __iter__(self) -> Iterator[LabelledFrame]:
        rows, columns = np.mgrid[:24, :32]
        for index in range(self.frame_count):
            image = np.stack([rows * 8, columns * 6, np.full_like(rows, index * 20)], -1)
            labels = ((columns + index) // 8 % len(DRIVING)).astype(np.uint8)
            yield LabelledFrame(Frame(image.astype(np.uint8), (index + 1) * 10**8, 'lens'), labels)


@pytest.fixture(scope='session')
def drive() -> Any:
    """Six small labelled pictures of a drive."""
    return Drive()


@pytest.fixture
def picture_folder(tmp_path: Path, drive: Any) -> Path:
    """The drive as a folder of PNG images, with label images in `labels` beside it."""
    for name in ('images', 'labels'):
        (tmp_path / name).mkdir()
    for index, item in enumerate(drive):
        cv2.imwrite(str(tmp_path / 'images' / f'{index}.png'), item.frame.image[..., ::-1])
        cv2.imwrite(str(tmp_path / 'labels' / f'{index}.png'), item.labels)
    return tmp_path / 'images'


RUN = """
import os, sys
import torch
torch.set_num_threads(1)
os.chdir({folder!r})
os.environ['HF_HUB_OFFLINE'] = '1'
for number, name in ((1, 'out'), (2, 'err')):
    os.dup2(os.open({log!r} + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
{before}
from vseg_ros.cli import main
sys.argv = ['vseg', *{arguments!r}]
main()
"""


class Command:
    """A `vseg` that runs as a process of its own."""

    def __init__(self, server: Any, folder: Path, log: Path, arguments: tuple[str, ...],
                 before: str) -> None:
        self._log = log
        self.process = server.Process(target=exec, args=(RUN.format(
            folder=str(folder), log=str(log), arguments=arguments, before=before), {}))
        self.process.start()

    def wait(self) -> int:
        """Wait for its end; return the exit code, below 0 if a signal killed it."""
        self.process.join(120)
        assert self.process.exitcode is not None, 'it hangs'
        return int(self.process.exitcode)

    @property
    def errors(self) -> list[str]:
        """What it said on standard error."""
        return Path(f'{self._log}err').read_text().strip().splitlines()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds while it runs."""
        end = time.monotonic() + 120
        while not condition():
            assert self.process.exitcode is None, self.errors
            assert time.monotonic() < end, 'it does not get on'
            time.sleep(0.01)


@pytest.fixture(scope='session')
def server() -> Any:
    """A process that has loaded everything and forks: each `vseg` begins at once."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['vseg_ros.cli', 'vseg_ros.virst.query',
                                    'vseg_ros.ditta.pipeline', 'accelerate'])
    return context


@pytest.fixture
def vseg(server: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory,
         ) -> Iterator[Callable[..., Command]]:
    """Start `vseg` in the temporary folder; `before` is code that its process runs first."""
    made: list[Command] = []
    logs = tmp_path_factory.mktemp('log')

    def start(*arguments: str, before: str = '') -> Command:
        made.append(Command(server, tmp_path, logs / str(len(made)), arguments, before))
        return made[-1]
    yield start
    for each in made:
        each.process.kill()
        each.process.join()
