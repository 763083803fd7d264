# ruff: noqa: PT012 (what raises is the context manager itself, around more than one statement)
from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from vseg_ros.atomic import AtomicOutput, atomic_file, refuse_same, uninterrupted
from vseg_ros.errors import UserError


def test_a_file_appears_whole_and_replaces_the_old_one(tmp_path, nothing_left):
    target = tmp_path / 'report.json'
    target.write_text('old')
    with atomic_file(target) as temporary:
        temporary.write_text('new')
        assert target.read_text() == 'old'
        assert temporary.suffix == '.json'
    assert target.read_text() == 'new'
    nothing_left('report.json')


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, nothing_left, error):
    target = tmp_path / 'report.json'
    target.write_text('old')
    with pytest.raises(error), atomic_file(target) as temporary:
        temporary.write_text('half')
        raise error
    assert target.read_text() == 'old'
    nothing_left('report.json')


@pytest.mark.parametrize(('code', 'message'), [
    (errno.ENOSPC, 'the disk is full while writing'), (errno.EDQUOT, 'the disk is full'),
    (errno.EACCES, 'no permission to write'), (errno.EROFS, 'no permission'),
    (errno.EIO, 'cannot write .*Input/output error')])
def test_what_the_system_says_becomes_one_line(tmp_path, nothing_left, code, message):
    with pytest.raises(UserError, match=message), atomic_file(tmp_path / 'a.html'):
        raise OSError(code, os.strerror(code))
    nothing_left()


def test_a_really_full_device_is_reported(tmp_path, nothing_left):
    with pytest.raises(UserError, match='the disk is full'), atomic_file(tmp_path / 'a.html'), \
            open('/dev/full', 'w') as full:
        full.write('x')
    nothing_left()


def test_places_that_cannot_hold_a_file_are_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    for path in (tmp_path / 'missing' / 'a.html', tmp_path / 'file' / 'a.html',
                 Path('/proc/a.html')):
        with pytest.raises(UserError, match=r'cannot write|no permission'):
            AtomicOutput(path)
    with pytest.raises(UserError, match='exists and is no file'):
        AtomicOutput(tmp_path)
    with pytest.raises(UserError, match='exists and is no file'):
        AtomicOutput('/dev/null')
    assert Path('/dev/null').is_char_device()


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / 'real').write_text('old')
    (tmp_path / 'link').symlink_to(tmp_path / 'real')
    with atomic_file(tmp_path / 'link') as temporary:
        temporary.write_text('new')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'real').read_text() == 'new'


def test_a_failed_rename_brings_the_old_folder_back(tmp_path, nothing_left):
    target = tmp_path / 'bag'
    target.mkdir()
    (target / 'metadata.yaml').write_text('old')
    output = AtomicOutput(target, folder=True)
    with pytest.raises(UserError, match='cannot write'):
        output.commit()
    assert (target / 'metadata.yaml').read_text() == 'old'
    nothing_left('bag')


def test_ctrl_c_waits_for_the_end_of_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        done.append(True)
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigterm_waits_too_if_python_handles_it():
    done: list[str] = []
    previous = signal.signal(signal.SIGTERM, lambda *_: done.append('ended'))
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            done.append('written')
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert done == ['written', 'ended']
    with uninterrupted():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_holding_ctrl_c_back_is_harmless_in_another_thread():
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with uninterrupted():
                pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed


def test_an_output_never_replaces_its_input(tmp_path):
    bag = tmp_path / 'bag'
    bag.mkdir()
    (bag / 'bag_0.mcap').write_text('')
    refuse_same(bag, tmp_path / 'other')
    refuse_same(None, bag)
    for source, output in ((bag, bag / '..' / 'bag'), (bag / 'bag_0.mcap', bag)):
        with pytest.raises(UserError, match='would replace the input'):
            refuse_same(source, output)
