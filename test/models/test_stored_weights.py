"""Weights in one file: what is written comes back, what is damaged is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.models.stored_weights import read_weights, write_weights


def test_weights_come_back_in_half_precision(tmp_path: Path) -> None:
    state = {'weight': torch.randn(3, 4).T, 'steps': torch.tensor([70_001])}
    write_weights(state, tmp_path / 'a.safetensors', {'kind': 'test'})
    read, metadata = read_weights(tmp_path / 'a.safetensors')
    assert metadata == {'kind': 'test'}
    torch.testing.assert_close(read['weight'], state['weight'].half().float(), rtol=0, atol=0)
    assert read['steps'].item() == 70_001


@pytest.mark.parametrize('content', [b'', b'no safetensors at all'])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / 'a.safetensors'
    file.write_bytes(content)
    with pytest.raises(UserError, match='cannot be read as safetensors') as caught:
        read_weights(file)
    assert '\n' not in str(caught.value)
