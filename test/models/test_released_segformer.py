"""`convert_segformer`: what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.models.released_segformer import convert_segformer
from vseg_ros.models.segformer import SEGFORMER_VARIANTS
from vseg_ros.models.segformer_keys import SegformerSize, places

TINY = SegformerSize('tiny', (8, 16, 40, 32), (1, 1, 1, 1), 16, 2)


@pytest.fixture
def checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setitem(SEGFORMER_VARIANTS, 'tiny', {
        'hidden_sizes': list(TINY.channels), 'depths': list(TINY.depths)})
    state = {name: torch.zeros(place.shape) for name, place in places(TINY).items()}
    torch.save({'state_dict': state}, tmp_path / 'a.pth')
    (tmp_path / 'names.txt').write_text('road\nsky\n')
    return tmp_path / 'a.pth'


def test_files(checkpoint: Path) -> None:
    out = checkpoint.parent / 'out'
    size = convert_segformer(checkpoint, out, str(checkpoint.parent / 'names.txt'))
    assert size == TINY
    assert str(size) == 'SegFormer-TINY, 2 classes'
    assert sorted(path.name for path in out.iterdir()) == ['config.json', 'model.safetensors']
    config = json.loads((out / 'config.json').read_text())
    assert config['id2label'] == {'0': 'road', '1': 'sky'}
    assert config['architectures'] == ['SegformerForSemanticSegmentation']
    assert config['num_attention_heads'] == [1, 2, 5, 8]


def test_the_number_of_classes_must_fit(checkpoint: Path, nothing_left) -> None:
    with pytest.raises(UserError, match='knows 2 classes, but --classes cityscapes names 19'):
        convert_segformer(checkpoint, checkpoint.parent / 'out', 'cityscapes')
    nothing_left('a.pth', 'names.txt')


def test_the_checkpoint_is_not_replaced(checkpoint: Path) -> None:
    with pytest.raises(UserError, match='would replace the input'):
        convert_segformer(checkpoint, checkpoint.parent, str(checkpoint.parent / 'names.txt'))
