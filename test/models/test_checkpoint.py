"""Checkpoints of training: whole or not at all, and a full disk named as such."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.models.checkpoint import resume_run, save_run, write_checkpoint

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


def new_run() -> dict[str, torch.nn.Module | torch.optim.Optimizer]:
    model = torch.nn.Linear(2, 1)
    return {'model': model, 'optimizer': torch.optim.AdamW(model.parameters())}


def test_a_run_is_put_back(tmp_path: Path) -> None:
    kept, other = new_run(), new_run()
    kept['model'](torch.ones(1, 2)).sum().backward()
    kept['optimizer'].step()
    save_run(tmp_path / 'a.pt', 7, kept)
    assert resume_run(tmp_path / 'a.pt', other) == 7
    assert torch.equal(other['model'].weight, kept['model'].weight)
    assert other['optimizer'].state_dict()['state'][0]['step'] == 1


@pytest.mark.parametrize('spoil', [
    lambda path: path.write_bytes(path.read_bytes()[:100]),
    lambda path: path.write_bytes(b''),
    lambda path: path.unlink(),
    lambda path: write_checkpoint({'step': 1}, path),
    lambda path: write_checkpoint({'step': 1, 'model': {}, 'optimizer': {}}, path),
    lambda path: write_checkpoint({'step': 1, 'model': 3, 'optimizer': None}, path)])
def test_a_run_that_cannot_be_put_back_is_named(
        tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    save_run(tmp_path / 'a.pt', 1, new_run())
    spoil(tmp_path / 'a.pt')
    with pytest.raises(UserError, match=r'a.pt is damaged or of a run with other settings: del'):
        resume_run(tmp_path / 'a.pt', new_run())
