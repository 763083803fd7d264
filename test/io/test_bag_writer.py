# ruff: noqa: PT012 (what raises is the context manager itself, around more than one statement)
from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader

from vseg_ros.errors import UserError
from vseg_ros.io.bag_file import BagFile
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.message_types import (
    LABEL_INFO,
    LATCHED,
    TYPES,
    image_message,
    label_info_message,
    label_set_of,
)
from vseg_ros.labels import DRIVING


def image(index: int = 0):
    return image_message(np.full((4, 6), index, np.uint8), 'mono8', index, 'cam')


def count(path) -> int:
    with BagFile(path) as bag:
        return len(list(bag.messages()))


@pytest.mark.parametrize(('name', 'storage', 'bare'), [
    ('a.mcap', 'mcap', True), ('a.db3', 'sqlite3', True), ('a.b.mcap', 'mcap', True),
    ('folder', 'mcap', False)])
def test_the_name_says_what_comes_out(tmp_path, nothing_left, name, storage, bare):
    path = tmp_path / name
    with BagWriter(path) as bag:
        bag.write('/cam', image(), 7)
        assert not path.exists()
    assert path.is_file() == bare
    nothing_left(name)
    if not bare:
        assert f'storage_identifier: {storage}' in (path / 'metadata.yaml').read_text()
        assert sorted(os.listdir(path)) == ['folder.mcap', 'metadata.yaml']
    assert count(path) == 1


def test_a_bare_mcap_describes_itself_and_is_compressed(tmp_path):
    """`ros2 bag info` takes version and files of a bare file from its own rosbag2 record."""
    path = tmp_path / 'drive.mcap'
    with BagWriter(path) as bag:
        for index in range(50):
            bag.write('/cam', image_message(np.zeros((100, 100), np.uint8), 'mono8', index, ''), 1)
    data = path.read_bytes()
    assert b'serialized_metadata' in data
    assert b'- drive.mcap' in data
    assert b'version: 8' in data  # Humble reads no newer one
    assert len(data) < 50 * 100 * 100 / 10


def test_latched_qos_and_label_info_survive(tmp_path):
    with BagWriter(tmp_path / 'a.mcap') as bag:
        bag.write('/vseg/label_info', label_info_message(DRIVING, 3, 'cam'), 5, LATCHED)
        bag.write('/cam', image(), 5)
    with Reader(tmp_path / 'a.mcap') as reader:
        info, cam = reader.connections
        assert info.ext.offered_qos_profiles[0].durability is QosDurability.TRANSIENT_LOCAL
        assert info.ext.offered_qos_profiles[0].reliability is QosReliability.RELIABLE
        assert cam.ext.offered_qos_profiles[0].durability is QosDurability.VOLATILE
        assert 'uint16 class_id' in info.msgdef.data
        _, _, data = next(reader.messages([info]))
    assert label_set_of(TYPES.deserialize_cdr(data, LABEL_INFO)) is DRIVING


def test_an_existing_bag_is_replaced_only_by_a_whole_one(tmp_path, nothing_left):
    for name in ('a.mcap', 'folder'):
        path = tmp_path / name
        for messages in (1, 3):
            with BagWriter(path) as bag:
                for _ in range(messages):
                    bag.write('/cam', image(), 1)
        assert count(path) == 3
        with pytest.raises(ZeroDivisionError), BagWriter(path) as bag:
            bag.write('/cam', image(), 1)
            raise ZeroDivisionError
        assert count(path) == 3
    nothing_left('a.mcap', 'folder')


def test_what_is_no_bag_is_never_replaced(tmp_path, nothing_left):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'a.jpg').write_text('x')
    (tmp_path / 'd.mcap').mkdir()
    for name, message in (('photos', 'exists and is no bag'), ('d.mcap', 'exists and is no file'),
                          ('a#1.db3', 'because of the #: use a path without'),
                          ('a.avi', r'end its name in \.mcap or \.db3'),
                          ('missing/a.mcap', 'is no folder; create it'),
                          ('photos/a.jpg/b.mcap', 'is no folder')):
        with pytest.raises(UserError, match=message):
            BagWriter(tmp_path / name)
    nothing_left('photos', 'd.mcap')


@pytest.mark.parametrize('name', ['a.mcap', 'a.db3', 'folder'])
def test_ctrl_c_keeps_what_was_written(tmp_path, nothing_left, name):
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / name) as bag:
        bag.write('/cam', image(), 1)
        bag.write('/cam', image(), 2)
        raise KeyboardInterrupt
    assert count(tmp_path / name) == 2
    nothing_left(name)


def test_ctrl_c_before_the_first_message_leaves_nothing(tmp_path, nothing_left):
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / 'a.mcap'):
        raise KeyboardInterrupt
    nothing_left()


def test_ctrl_c_in_the_middle_of_a_record_cuts_nothing(tmp_path, monkeypatch):
    from rosbags.rosbag2 import storage_mcap
    write_record = storage_mcap.write_record

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        write_record(*arguments)

    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / 'a.mcap') as bag:
        bag.write('/cam', image(), 1)
        monkeypatch.setattr(storage_mcap, 'write_record', interrupted)
        bag.write('/cam', image(), 2)
    monkeypatch.undo()
    assert count(tmp_path / 'a.mcap') == 2


SCRIPT = """
import resource, signal, sys
import numpy as np
from vseg_ros.errors import UserError
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.message_types import image_message
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
noise = np.random.default_rng(0).integers(0, 256, (500, 1000), np.uint8)
try:
    with BagWriter(sys.argv[1]) as bag:
        for index in range(int(sys.argv[2])):
            bag.write('/cam', image_message(noise, 'mono8', index, ''), index)
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize('name', ['a.mcap', 'a.db3', 'folder'])
@pytest.mark.parametrize('images', [1, 8])
def test_a_file_that_the_system_does_not_let_grow_is_a_full_disk(
        tmp_path, nothing_left, name, images):
    """A file size limit makes real writes fail, at once or when the bag is closed."""
    done = subprocess.run([sys.executable, '-c', SCRIPT, str(tmp_path / name), str(images)],
                          capture_output=True, text=True, check=False)
    assert done.stdout.startswith('the disk is full while writing'), done.stderr
    assert len(done.stdout.splitlines()) == 1
    nothing_left()


def test_no_space_while_writing_leaves_nothing(tmp_path, nothing_left, monkeypatch):
    with pytest.raises(UserError, match='the disk is full'), BagWriter(tmp_path / 'a.mcap') as bag:
        bag.write('/cam', image(), 1)

        def full(*_):
            raise OSError(errno.ENOSPC, 'No space left on device')

        monkeypatch.setattr(bag._writer.storage, 'write', full)
        bag.write('/cam', image(), 2)
    nothing_left()
