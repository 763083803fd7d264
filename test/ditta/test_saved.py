"""What an adaptation learned, on disk."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.saved import load_adapted, save_adapted
from vseg_ros.errors import UserError
from vseg_ros.labels import LabelSet
from vseg_ros.models.segformer import new_segformer
from vseg_ros.models.segmenter import ImageSegmenter

OTHER_CLASSES = LabelSet.from_names(('road', 'sky', 'car', 'bus'))
MORE_CLASSES = LabelSet.from_names(('road', 'sky', 'car', 'person', 'bus'))

Segmenters = Callable[..., ImageSegmenter]


@pytest.fixture
def adapted(tiny_segmenter: Segmenters, tmp_path: Path) -> tuple[DittaModel, Path]:
    """A model whose weights differ from what the segmenter starts with, and its file."""
    segmenter = tiny_segmenter()
    model = DittaModel(segmenter.decoder, radius=2)
    plain = copy.deepcopy(segmenter.decoder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    path = tmp_path / 'street.safetensors'
    save_adapted(model, path, 'first-segmenter', segmenter.label_set, plain)
    return model, path


def load_into(tiny_segmenter: Segmenters, path: Path, radius: int = 2,
              **segmenter_options: object) -> DittaModel:
    segmenter = tiny_segmenter(**segmenter_options)
    model = DittaModel(segmenter.decoder, radius)
    load_adapted(model, path, 'tiny', segmenter.label_set)
    return model


def test_decoder_and_addon_come_back_bit_by_bit(
        adapted: tuple[DittaModel, Path], tiny_segmenter: Segmenters) -> None:
    model, path = adapted
    assert list(path.parent.iterdir()) == [path]
    loaded = load_into(tiny_segmenter, path)
    for part in ('decoder', 'addon'):
        theirs = getattr(loaded, part).state_dict()
        for name, value in getattr(model, part).state_dict().items():
            assert torch.equal(value, theirs[name]), name


def test_the_file_holds_nothing_else_and_takes_a_few_megabytes(tmp_path: Path) -> None:
    segmenter = new_segformer(LabelSet.from_names([f'class {i}' for i in range(15)]), 'b0')
    path = tmp_path / 'b0.safetensors'
    save_adapted(DittaModel(segmenter.decoder, 5), path, 'b0', segmenter.label_set,
                 segmenter.decoder)
    assert {name.split('.')[0] for name in load_file(path)} == {'decoder', 'addon'}
    assert 1e6 < path.stat().st_size < 5e6


def test_a_missing_file_is_named(tiny_segmenter: Segmenters, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'no file .*nowhere\.safetensors; leave it empty'):
        load_into(tiny_segmenter, tmp_path / 'nowhere.safetensors')


@pytest.mark.parametrize('damage', ['truncated', 'garbage', 'empty'])
def test_a_damaged_file_is_refused_in_one_line(
        adapted: tuple[DittaModel, Path], tiny_segmenter: Segmenters, damage: str) -> None:
    path = adapted[1]
    whole = path.read_bytes()
    path.write_bytes({'truncated': whole[:-100], 'garbage': b'\xff' * 300, 'empty': b''}[damage])
    with pytest.raises(UserError, match='is damaged') as caught:
        load_into(tiny_segmenter, path)
    assert '\n' not in str(caught.value)


def test_a_file_of_something_else_is_refused(tiny_segmenter: Segmenters, tmp_path: Path) -> None:
    path = tmp_path / 'other.safetensors'
    save_file({'weight': torch.zeros(3)}, path)
    with pytest.raises(UserError, match='was not written by DiTTA'):
        load_into(tiny_segmenter, path)


@pytest.mark.parametrize('options', [
    {'classes': OTHER_CLASSES}, {'classes': MORE_CLASSES}, {'seed': 5}],
    ids=['names', 'count', 'weights'])
def test_a_file_of_another_segmenter_is_refused_and_changes_nothing(
        adapted: tuple[DittaModel, Path], tiny_segmenter: Segmenters,
        options: dict[str, object]) -> None:
    segmenter = tiny_segmenter(**options)
    model = DittaModel(segmenter.decoder, 2)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UserError, match="belongs to the segmenter 'first-segmenter'") as caught:
        load_adapted(model, adapted[1], 'tiny', segmenter.label_set)
    assert '\n' not in str(caught.value)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_another_radius_is_named(adapted: tuple[DittaModel, Path],
                                 tiny_segmenter: Segmenters) -> None:
    with pytest.raises(UserError, match=r'learned with -p fusion\.radius=2, not 3'):
        load_into(tiny_segmenter, adapted[1], radius=3)


def test_an_unwritable_place_is_one_line(adapted: tuple[DittaModel, Path]) -> None:
    model, path = adapted
    with pytest.raises(UserError, match='cannot write'):
        save_adapted(model, path.parent / 'no' / 'folder' / 'x.safetensors', 'tiny', MORE_CLASSES,
                     model.decoder)
