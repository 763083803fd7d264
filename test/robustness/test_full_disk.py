"""Commands on a disk that is full, or in a folder that may not be written: one line, code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Vseg = Callable[..., Any]
# A file-size limit makes real writes fail, wherever they are.
LIMITED = ('import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
           'resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))')
SMALL = ('-p', 'precision=bfloat16', '-p', 'device=cpu', '-p', 'input_size=64')
IN_PICTURES = ('pictures', '--pipeline', 'iss', *SMALL)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve pictures of noise."""
    folder = tmp_path / 'pictures'
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(12):
        cv2.imwrite(str(folder / f'{index}.png'),
                    random.integers(0, 256, (96, 128, 3), np.uint8))
    return folder


def one_line(command: Any) -> str:
    """Return the line that the command ends in; before it there may be progress."""
    assert command.wait() == 2, command.errors
    said = [line for line in command.errors if line.startswith('vseg: ')]
    assert len(said) == 1, command.errors
    assert command.errors[-1] == said[0]
    assert not any('Traceback' in line for line in command.errors)
    return str(said[0])


@pytest.mark.parametrize(('arguments', 'bytes_'), [
    (('bag', 'pictures', 'out.mcap', '--encoding', 'rgb8'), 30_000),
    (('bag', 'pictures', 'out.db3', '--encoding', 'rgb8'), 100_000),
    (('replay', *IN_PICTURES, '--out', 'out.mcap'), 30_000),
    (('replay', *IN_PICTURES, '--video', 'out.mp4'), 20_000)])
def test_full_disk(vseg: Vseg, tmp_path: Path, pictures: Path, arguments: tuple[str, ...],
                   bytes_: int) -> None:
    assert one_line(vseg(*arguments, before=LIMITED.format(bytes_))).startswith(
        'vseg: the disk is full while writing out.')
    assert [path.name for path in tmp_path.iterdir()] == ['pictures']


# Root may write anywhere: it gives CAP_DAC_OVERRIDE up first.
WITHOUT_PRIVILEGE = """
import ctypes
libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
libc.capget(header, sets)
sets[0] &= ~(1 << 1)
libc.capset(header, sets)
"""


def test_folder_that_may_not_be_written(vseg: Vseg, tmp_path: Path, pictures: Path) -> None:
    (tmp_path / 'mine').mkdir(mode=0o500)
    command = vseg('bag', 'pictures', 'mine/out.mcap', before=WITHOUT_PRIVILEGE)
    assert one_line(command) == (
        'vseg: no permission to write mine/out.mcap: choose a folder that you may write to')
    assert not list((tmp_path / 'mine').iterdir())


def test_picture_that_vanishes_while_it_is_read(vseg: Vseg, tmp_path: Path,
                                                pictures: Path) -> None:
    """The last one goes as soon as the first is asked for."""
    before = ('import os, vseg_ros.io.image_folder as folder\nread = folder.read_image\n'
              'def vanish(path):\n    if path.name == "0.png": os.unlink("pictures/11.png")\n'
              '    return read(path)\nfolder.read_image = vanish')
    assert one_line(vseg('bag', 'pictures', 'out.mcap', before=before)).startswith(
        'vseg: cannot read pictures/11.png (No such file or directory)')
    assert [path.name for path in tmp_path.iterdir()] == ['pictures']
