"""Checkpoints of training: whole or not at all, and a full disk named as such."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vseg_ros.models.checkpoint import write_checkpoint

SCRIPT = """
import resource, signal, sys
from pathlib import Path
import torch
from vseg_ros.errors import UserError
from vseg_ros.models.checkpoint import write_checkpoint
from vseg_ros.models.stored_weights import write_weights
from vseg_ros.atomic import atomic_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
path, state = Path(sys.argv[1]), {'weight': torch.zeros(100_000)}
try:
    if path.suffix == '.pt':
        write_checkpoint(state, path)
    else:
        with atomic_file(path) as temporary:
            write_weights(state, temporary, {})
except UserError as error:
    print(error)
"""


def test_it_comes_back_and_replaces_the_old_one(tmp_path: Path,
                                                nothing_left: Callable[..., None]) -> None:
    for step in (1, 2):
        write_checkpoint({'step': step, 'weight': torch.arange(3.0)}, tmp_path / 'a.pt')
    stored = torch.load(tmp_path / 'a.pt', weights_only=True)
    assert stored['step'] == 2
    assert torch.equal(stored['weight'], torch.arange(3.0))
    nothing_left('a.pt')


@pytest.mark.parametrize('name', ['a.pt', 'a.safetensors'])
def test_a_full_disk_is_one_line_and_leaves_the_old_one(
        tmp_path: Path, nothing_left: Callable[..., None], name: str) -> None:
    (tmp_path / name).write_text('old')
    done = subprocess.run([sys.executable, '-c', SCRIPT, str(tmp_path / name)], text=True,
                          capture_output=True, check=False)
    assert done.stdout.startswith('the disk is full while writing'), done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert (tmp_path / name).read_text() == 'old'
    nothing_left(name)


def test_ctrl_c_waits_until_it_is_whole(tmp_path: Path, nothing_left: Callable[..., None],
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    save = torch.save

    def interrupted(*arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)
        save(*arguments)
    monkeypatch.setattr(torch, 'save', interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint({'step': 1}, tmp_path / 'a.pt')
    assert torch.load(tmp_path / 'a.pt', weights_only=True) == {'step': 1}
    nothing_left('a.pt')


def test_what_cannot_be_stored_is_a_defect(tmp_path: Path,
                                           nothing_left: Callable[..., None]) -> None:
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        write_checkpoint({'function': lambda: None}, tmp_path / 'a.pt')
    nothing_left()
