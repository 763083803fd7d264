"""
Write a bag, whole or not at all.

The path says what comes out: NAME.mcap and NAME.db3 are bare files, as `ros2 bag play` and
Foxglove open them, and a name without a suffix is a bag folder with metadata.yaml (mcap storage).
rosbags always writes a folder; for a bare file it is written aside and its one storage file is
moved out. mcap chunks are compressed with zstd, which every ROS 2 reader undoes by itself.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat, Qos
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from vseg_ros.atomic import AtomicOutput, StreamWriter, uninterrupted, write_error
from vseg_ros.errors import UserError
from vseg_ros.io.bag_file import RawMessage, refuse_uri_characters
from vseg_ros.io.message_types import TYPES, VOLATILE

_METADATA_VERSION: Final = 8
"""The newest that the rosbag2 of Humble reads; later ones read it too."""

# The hash of a type that nobody defined; rosbags insists on one.
_UNKNOWN_HASH = f'RIHS01_{"0" * 64}'


def _type_hash(connection: Connection) -> str:
    """Return the REP-2011 hash of a connection's type, which mcap files do not carry."""
    if connection.digest:
        return connection.digest
    parsers = {MessageDefinitionFormat.MSG: lambda text: get_types_from_msg(
                   text, connection.msgtype),
               MessageDefinitionFormat.IDL: get_types_from_idl}
    # A foreign definition that rosbags cannot read is no reason to drop the topic.
    with suppress(Exception):
        store = get_typestore(Stores.EMPTY)
        store.register(parsers[connection.msgdef.format](connection.msgdef.data))
        return store.hash_rihs01(connection.msgtype)
    return _UNKNOWN_HASH


def _definition(connection: Connection) -> tuple[str, str]:
    """Return text and hash of a connection's type; old bags leave them to the installation."""
    known = connection.msgtype in TYPES.fielddefs
    if connection.msgdef.format == MessageDefinitionFormat.NONE and known:
        text, _ = TYPES.generate_msgdef(connection.msgtype, ros_version=2)
        return text, TYPES.hash_rihs01(connection.msgtype)
    return connection.msgdef.data, _type_hash(connection)


class BagWriter(StreamWriter):
    """
    A bag under construction; a context manager, see `StreamWriter`.

    Args:
        path: NAME.mcap, NAME.db3, or a folder's name without a suffix. What stands there is
            replaced once the new bag is whole.

    Raises:
        UserError: a wrong suffix, something there that is no bag, or a place that cannot be
            written; the writing methods also when the disk is full.

    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        if path.suffix not in ('', '.mcap', '.db3'):
            raise UserError(f'a bag cannot be called {path}: end its name in .mcap or .db3, or '
                            'leave the suffix away for a bag folder')
        refuse_uri_characters(path)
        self._bare = bool(path.suffix)
        if not self._bare and path.is_dir() and not (path / 'metadata.yaml').exists():
            raise UserError(f'the folder {path} exists and is no bag: choose another name for the '
                            'output')
        super().__init__(AtomicOutput(path, folder=not self._bare))
        self._connections: dict[tuple[str, str], Connection] = {}
        self._count = 0
        plugin = StoragePlugin.SQLITE3 if path.suffix == '.db3' else StoragePlugin.MCAP
        target = self._output.temporary
        self._writer = Writer(target.with_suffix(''), version=_METADATA_VERSION,
                              storage_plugin=plugin)
        if plugin is StoragePlugin.MCAP:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            with self._writing():
                self._writer.open()
        except BaseException:
            self._discard()
            raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Name the cause when the system refuses to write."""
        try:
            yield
        except OSError as error:
            raise write_error(self.path, error) from error
        except sqlite3.Error as error:
            # SQLite reports a full disk and a file that grows too large alike.
            full = 'full' in str(error) or 'I/O' in str(error)
            cause = OSError(errno.ENOSPC if full else errno.EIO, str(error))
            raise write_error(self.path, cause) from error

    @property
    def empty(self) -> bool:
        """Whether nothing was written yet."""
        return not self._count

    def write(self, topic: str, message: Any, log_time: int,
              qos: Sequence[Qos] = VOLATILE) -> None:
        """
        Write a message built by `message_types`.

        Args:
            topic: absolute name.
            message: what to write.
            log_time: receive time, nanoseconds; readers play the bag in its order.
            qos: the profile recorded with the topic, taken from its first message.

        """
        kind = message.__msgtype__
        with uninterrupted(), self._writing():
            connection = self._connections.get((topic, kind))
            if connection is None:
                connection = self._writer.add_connection(
                    topic, kind, typestore=TYPES, offered_qos_profiles=qos)
                self._connections[topic, kind] = connection
            self._put(connection, log_time, TYPES.serialize_cdr(message, kind))

    def write_raw(self, message: RawMessage) -> None:
        """Write another bag's message as it is: its type, QoS, receive time and bytes."""
        with uninterrupted(), self._writing():
            self._put(self._carried(message.connection), message.log_time, message.data)

    def declare(self, connection: Connection) -> None:
        """Carry another bag's topic over even if no message follows."""
        with uninterrupted(), self._writing():
            self._carried(connection)

    def _carried(self, source: Connection) -> Connection:
        key = source.topic, source.msgtype
        if key not in self._connections:
            text, type_hash = _definition(source)
            extra = source.ext
            qos = extra.offered_qos_profiles if isinstance(extra, ConnectionExtRosbag2) else ()
            self._connections[key] = self._writer.add_connection(
                *key, msgdef=text, rihs01=type_hash, offered_qos_profiles=qos)
        return self._connections[key]

    def _put(self, connection: Connection, log_time: int, data: bytes | memoryview) -> None:
        self._writer.write(connection, log_time, data)
        self._count += 1

    def _finish(self) -> None:
        with self._writing():
            self._writer.close()
            if self._bare:
                target = self._output.temporary
                (target.with_suffix('') / target.name).replace(target)

    def _abandon(self) -> None:
        self._writer.abort()
