"""
A rosbag2 recording on disk, as raw messages.

A bag is a folder with `metadata.yaml`, or one bare .mcap or .db3 file. rosbags raises whatever
its parsers meet in a damaged file; here that becomes one `UserError`, on opening and on reading.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from typing_extensions import Self

from vseg_ros.errors import UserError

BAG_SUFFIXES = ('.mcap', '.db3')


class RawMessage(NamedTuple):
    """A serialized message: its topic's connection, receive time in nanoseconds, CDR bytes."""

    connection: Connection
    log_time: int
    data: bytes


def _one_line(error: BaseException) -> str:
    text = ' '.join(str(error).split()) or type(error).__name__
    return text if len(text) <= 150 else f'{text[:150]}…'


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what rosbags raises over a damaged file into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f'no permission to read {path}: ask for it or copy the bag') from error
    # A damaged file can fail any assumption of the parsers below, so there is no narrower type.
    except Exception as error:
        raise UserError(f'the bag {path} is damaged or cut short ({_one_line(error)}): record it '
                        'again, or repair it with "ros2 bag reindex" or "mcap recover"') from error


def refuse_uri_characters(path: Path) -> None:
    """
    Refuse a .db3 path that SQLite, which gets it as a URI, would take for another file.

    Raises:
        UserError: the full path holds a #, ? or %.

    """
    found = [character for character in '#?%' if character in str(path.resolve())]
    if path.suffix == '.db3' and found:
        raise UserError(f'a .db3 bag cannot stand at {path.resolve()}, because of the {found[0]}: '
                        'use a path without #, ? and %, or an .mcap bag')


def _check(path: Path) -> None:
    """Refuse what cannot be a bag, saying what a bag is."""
    if not path.exists():
        raise UserError(f'there is no bag {path}: check the path')
    if path.is_dir() and not (path / 'metadata.yaml').exists():
        raise UserError(f'the folder {path} has no metadata.yaml and so is no bag: give the .mcap '
                        'or .db3 file itself, or make one with "ros2 bag reindex"')
    if path.suffix == '.bag' and path.is_file():
        raise UserError(f'{path} is a ROS 1 bag: convert it with "rosbags-convert --src {path} '
                        f'--dst {path.with_suffix("")}"')
    if path.is_file() and path.suffix not in BAG_SUFFIXES:
        raise UserError(f'{path} is no bag: give a bag folder or an .mcap or .db3 file')
    if path.is_file() and not path.stat().st_size:
        raise UserError(f'the bag {path} is empty (0 bytes): record it again')
    refuse_uri_characters(path)


class BagFile:
    """
    A recording, open for reading.

    Attributes:
        path: the folder or file.

    Raises:
        UserError: on entering, if it is missing, no bag or damaged; `messages` also on the way.

    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader: Reader | None = None

    def __enter__(self) -> Self:
        """Open the recording."""
        _check(self.path)
        with _reading(self.path):
            reader = Reader(self.path)
            reader.open()
        self._reader = reader
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close it."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    @property
    def reader(self) -> Reader:
        """The open recording."""
        if self._reader is None:
            raise ValueError(f'the bag {self.path} is not open: use it in a with statement')
        return self._reader

    @property
    def connections(self) -> list[Connection]:
        """What was recorded: topic, type, QoS, message count; a topic can have several."""
        return self.reader.connections

    def messages(self, topics: Collection[str] = ()) -> Iterator[RawMessage]:
        """
        Read messages in order of their receive time.

        Args:
            topics: the topics to read; none means all.

        Raises:
            UserError: the file is damaged.

        """
        chosen = [c for c in self.connections if not topics or c.topic in topics]
        with _reading(self.path):
            for connection, log_time, data in self.reader.messages(chosen):
                yield RawMessage(connection, log_time, bytes(data))
