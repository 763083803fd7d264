"""
Outputs that appear whole or not at all.

An output is written under its own name into a hidden folder beside its final place, so that the
last step is a rename within one file system. An error discards the folder; an older output of
that name stays as it was until the new one is whole. `StreamWriter` gives bags and videos their
one exception: a Ctrl-C closes the output cleanly and keeps what was written so far.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType

from typing_extensions import Self

from vseg_ros.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def write_error(path: Path, error: OSError) -> UserError:
    """Say why the system refuses to write `path`, and what helps."""
    if error.errno in _FULL:
        return UserError(f'the disk is full while writing {path}: free some space or write '
                         'elsewhere; nothing was left behind')
    if error.errno in _FORBIDDEN:
        return UserError(f'no permission to write {path}: choose a folder that you may write to')
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return UserError(f'cannot write {path}: {path.parent} is no folder; create it or choose '
                         'another')
    return UserError(f'cannot write {path}: {error.strerror or error}; choose another place')


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block, which does nothing but write `path`, into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """
    Hold Ctrl-C and SIGTERM back until the block is through, so that no record is cut in half.

    Python handles signals in the main thread alone; elsewhere there is nothing to hold. One that
    Python does not handle is left as it is: it ends the process, or somebody else handles it.
    """
    handlers = {number: handler for number in (signal.SIGINT, signal.SIGTERM)
                if callable(handler := signal.getsignal(number))}
    if threading.current_thread() is not threading.main_thread() or not handlers:
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    for number in handlers:
        signal.signal(number, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if held:
        handlers[signal.Signals(held[0][0])](*held[0])


def refuse_same(source: Path | None, output: Path) -> None:
    """
    Refuse an output that would replace the source it is made from.

    Raises:
        UserError: `output` is `source`, or a folder that holds it.

    """
    if source is None:
        return
    read, written = source.resolve(), output.resolve()
    if read == written or written in read.parents:
        raise UserError(f'the output {output} would replace the input {source}: choose another '
                        'name for the output')


class AtomicOutput:
    """
    A file or folder under construction.

    Attributes:
        path: where it will stand.
        temporary: where to write it; its name is that of `path`.

    Raises:
        UserError: nothing can be written there, or something stands there that an output must
            not replace: a device, or a folder where a file is to be (or the reverse).

    """

    def __init__(self, path: str | Path, *, folder: bool = False) -> None:
        self.path = Path(path)
        # A link is followed: its target is replaced, and the link stays a link.
        self._target = Path(os.path.realpath(self.path))
        with writing(self.path):
            standing = os.path.lexists(self._target)
        expected = self._target.is_dir() if folder else self._target.is_file()
        if standing and not expected:
            raise UserError(f'{self.path} exists and is no {"folder" if folder else "file"} that '
                            'could be replaced: choose another name for the output')
        with writing(self.path):
            self._folder = Path(tempfile.mkdtemp(
                prefix=f'.{self._target.name}.', suffix='.partial', dir=self._target.parent))
        self.temporary = self._folder / self._target.name

    def commit(self) -> None:
        """Put the finished output in its place."""
        replaced = self._folder / f'{self._target.name}.replaced'
        try:
            with writing(self.path):
                if self._target.is_dir():
                    os.replace(self._target, replaced)
                os.replace(self.temporary, self._target)
        except BaseException:
            if replaced.exists() and not self._target.exists():
                os.replace(replaced, self._target)
            raise
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove whatever was written."""
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """
    Write a file whole or not at all.

    Args:
        path: the file; an older one is replaced once the block is through.

    Yields:
        The temporary path to write to, with the same name. The block does nothing but write.

    Raises:
        UserError: it cannot be written.

    """
    output = AtomicOutput(path)
    try:
        with writing(output.path):
            yield output.temporary
        output.commit()
    except BaseException:
        output.discard()
        raise


class StreamWriter(ABC):
    """
    A context manager around an output that grows frame by frame.

    Left without an exception, the output is closed and put in its place. A `KeyboardInterrupt`
    does the same with what there is so far; any other exception leaves nothing behind.
    """

    def __init__(self, output: AtomicOutput) -> None:
        self._output = output

    @property
    def path(self) -> Path:
        """Where the output will stand."""
        return self._output.path

    @property
    @abstractmethod
    def empty(self) -> bool:
        """Whether nothing was written yet."""

    @abstractmethod
    def _finish(self) -> None:
        """Close the temporary file so that it is complete."""

    @abstractmethod
    def _abandon(self) -> None:
        """Let go of the temporary file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        with uninterrupted():
            if kind is None or (interrupted and not self.empty):
                self._close()
            else:
                self._discard()

    def _close(self) -> None:
        try:
            self._finish()
        except BaseException:
            self._discard()
            raise
        self._output.commit()

    def _discard(self) -> None:
        with suppress(Exception):
            self._abandon()
        self._output.discard()
