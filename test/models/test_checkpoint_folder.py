"""Folders of converted checkpoints: whole or not at all."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vseg_ros.errors import UserError
from vseg_ros.models.checkpoint_folder import new_folder, save_weights


def fill(out: Path) -> None:
    with new_folder(out) as folder:
        (folder / 'new').touch()
        raise OSError(errno.ENOSPC, 'No space left on device')


def test_views_and_shared_tensors_are_written(tmp_path: Path) -> None:
    table = torch.arange(12.).reshape(3, 4)
    state = {'all': table, 'again': table, 'column': table[:, 1], 'turned': table.T}
    save_weights(state, tmp_path / 'a.safetensors')
    stored = load_file(tmp_path / 'a.safetensors')
    assert all(torch.equal(stored[name], value) for name, value in state.items())


def test_an_older_folder_is_replaced_whole(tmp_path: Path, nothing_left) -> None:
    for name in ('old', 'new'):
        with new_folder(tmp_path / 'out') as folder:
            (folder / name).touch()
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['new']
    nothing_left('out')


def test_an_error_leaves_the_older_folder(tmp_path: Path, nothing_left) -> None:
    with new_folder(tmp_path / 'out') as folder:
        (folder / 'old').touch()
    with pytest.raises(UserError, match='the disk is full while writing'):
        fill(tmp_path / 'out')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['old']
    nothing_left('out')


def test_weights_that_do_not_fit_on_the_disk(tmp_path: Path, nothing_left) -> None:
    """A limit on the size of files stands in for a full disk; the system says so either way."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(UserError, match='the disk is full while writing'), \
                new_folder(tmp_path / 'out') as folder:
            save_weights({'a': torch.ones(1 << 16)}, folder / 'a.safetensors')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    nothing_left()
