"""From a name to a bundled file, a path or a hub id."""

from __future__ import annotations

from pathlib import Path

import pytest

from vseg_ros import weights
from vseg_ros.errors import UserError
from vseg_ros.weights import BUNDLED, bundled_path, find_weights, hub_advice


def test_bundled_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, 'ASSETS', tmp_path)
    with pytest.raises(UserError, match='driving-b0 are missing from this installation'):
        find_weights('driving-b0')
    file = tmp_path / 'driving-b0.safetensors'
    file.touch()
    found = find_weights('driving-b0')
    assert (found.kind, found.path) == ('bundled', file)
    with pytest.raises(UserError, match="no bundled weights named 'b9': there are driving-b0"):
        bundled_path('b9')


def test_every_bundled_name_is_described() -> None:
    assert all(BUNDLED.values())


def test_paths_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'models' / 'mine'
    folder.mkdir(parents=True)
    file = folder / 'x.safetensors'
    file.touch()
    assert find_weights(str(folder)).kind == 'folder'
    assert find_weights(str(file)).path == file
    monkeypatch.setenv('HOME', str(tmp_path))
    assert find_weights('~/models/mine/x.safetensors').path == file
    monkeypatch.chdir(tmp_path)
    assert find_weights('models/mine').kind == 'folder'


@pytest.mark.parametrize('name', [
    'nvidia/segformer-b5-finetuned-cityscapes-1024-1024', 'facebook/sam2.1-hiera-tiny',
    'owner_1/model.v2'])
def test_hub_ids(name: str) -> None:
    found = find_weights(name)
    assert (found.kind, found.path, found.name) == ('hub', None, name)


@pytest.mark.parametrize('name', [
    '', ' ', 'driving-b9', './no/such', '/no/such', '~/such', '~nobody-here/such', 'a/b/c',
    'runs/segmenter.safetensors', 'runs/model.pt', 'a b/c', 'a/'])
def test_what_is_nowhere_lists_the_bundled_names(name: str) -> None:
    with pytest.raises(UserError, match=r'no weights named .*driving-b0') as caught:
        find_weights(name)
    assert '\n' not in str(caught.value)


def test_hub_advice_says_how_to_get_it() -> None:
    assert 'hf download owner/model --local-dir DIR' in hub_advice('owner/model')
