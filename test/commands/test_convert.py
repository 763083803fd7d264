"""`vseg convert` as a user calls it."""

from __future__ import annotations

import torch


def test_help_names_the_methods(vseg) -> None:
    result = vseg('convert', '--help')
    assert result.returncode == 0
    for method in ('ditta', 'segformer', 'sam2', 'virst'):
        assert f'  {method} ' in result.stdout


def test_errors_end_in_one_line(vseg, tmp_path) -> None:
    result = vseg('convert', 'virst', 'nowhere.pt', 'out')
    assert result.returncode == 2
    assert 'vseg: no checkpoint nowhere.pt' in result.stderr
    torch.save({'model': {}}, tmp_path / 'other.pt')
    result = vseg('convert', 'virst', 'other.pt', 'out')
    assert result.returncode == 2
    assert "it has no 'model_state_dict' with tensors" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['other.pt']


def test_wrong_options(vseg) -> None:
    result = vseg('convert', 'virst', 'nowhere.pt', 'out', '--lora-alpha', '-1')
    assert result.returncode == 2
