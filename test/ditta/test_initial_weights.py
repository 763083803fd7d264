"""Where DiTTA starts when its segmenter brings a start, and when it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vseg_ros.ditta.initial_weights import INITIAL, STARTED, load_initial
from vseg_ros.ditta.model import DittaModel
from vseg_ros.errors import UserError
from vseg_ros.models.segmenter import ImageSegmenter


@pytest.fixture
def model(tiny_segmenter: Callable[..., ImageSegmenter]) -> DittaModel:
    return DittaModel(tiny_segmenter().decoder, radius=2)


def start(model: DittaModel) -> dict[str, torch.Tensor]:
    return {name: value + 1 for name, value in model.state_dict().items()
            if name.startswith(STARTED)}


def test_a_start_is_taken_and_the_decoder_stays(model: DittaModel, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(start(model), tmp_path / INITIAL)
    assert load_initial(model, str(tmp_path))
    for name, value in model.state_dict().items():
        shift = 1 if name.startswith(STARTED) else 0
        torch.testing.assert_close(value, before[name] + shift)


def test_other_segmenters_bring_none(model: DittaModel, tmp_path: Path) -> None:
    for segmenter in ('driving-b0', str(tmp_path), 'nvidia/segformer-b0'):
        assert not load_initial(model, segmenter)


def test_a_start_that_does_not_fit_changes_nothing(model: DittaModel, tmp_path: Path) -> None:
    state = start(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    del state['addon.key_layer.2.bias']
    save_file(state, tmp_path / INITIAL)
    with pytest.raises(UserError, match=r'does not fit its segmenter .*addon\.key_layer\.2\.bias'):
        load_initial(model, str(tmp_path))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_damaged_start(model: DittaModel, tmp_path: Path) -> None:
    (tmp_path / INITIAL).write_bytes(b'\xff' * 64)
    with pytest.raises(UserError, match='cannot be read as safetensors'):
        load_initial(model, str(tmp_path))
