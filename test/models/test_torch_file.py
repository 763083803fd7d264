"""Files of `torch.save`: only tensors come out, and what is no checkpoint is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.models.torch_file import open_torch_file, read_state

WEIGHTS = {'a.weight': torch.ones(2, 3), 'a.bias': torch.zeros(2)}


class Harmful:
    """Would write a file when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize('content', [
    WEIGHTS, {'state_dict': WEIGHTS, 'meta': {'epoch': 3}}, {'model': WEIGHTS},
    {'state_dict': {f'module.{name}': value for name, value in WEIGHTS.items()}}])
@pytest.mark.parametrize('zipped', [True, False])
def test_where_the_weights_are(tmp_path: Path, content: object, zipped: bool) -> None:
    torch.save(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=zipped)
    state = read_state(tmp_path / 'a.pth')
    assert state.keys() == WEIGHTS.keys()
    assert all(torch.equal(state[name], value) for name, value in WEIGHTS.items())


def test_the_first_name_counts(tmp_path: Path) -> None:
    torch.save({'model': WEIGHTS, 'state_dict': {'x': torch.ones(1)}}, tmp_path / 'a.pt')
    assert read_state(tmp_path / 'a.pt', ('model', 'state_dict')).keys() == WEIGHTS.keys()


@pytest.mark.parametrize('content', [
    {}, [1], {'state_dict': {}}, {'state_dict': {'a': 3}}, {'epoch': 3}, {'model': {1: WEIGHTS}}])
def test_other_contents(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(UserError, match="has no 'state_dict' or 'model' with tensors"):
        read_state(tmp_path / 'a.pth')


def test_code_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / 'trace'
    torch.save({'state_dict': WEIGHTS, 'extra': Harmful(trace)}, tmp_path / 'a.pth')
    with pytest.raises(UserError, match=r"may run code .* save only its 'state_dict'") as caught:
        open_torch_file(tmp_path / 'a.pth')
    assert not trace.exists()
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('share', [0.0, 0.5, 0.999])
def test_cut_short(tmp_path: Path, share: float) -> None:
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    content = (tmp_path / 'a.pth').read_bytes()
    (tmp_path / 'a.pth').write_bytes(content[:int(share * len(content))])
    with pytest.raises(UserError, match='cut short or no checkpoint'):
        open_torch_file(tmp_path / 'a.pth')


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no checkpoint'):
        open_torch_file(tmp_path)
