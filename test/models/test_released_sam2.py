"""`convert_sam2`: what it refuses. Equal outputs: test/commands/test_convert_released.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Sam2VideoConfig, SegformerConfig

from vseg_ros.errors import UserError
from vseg_ros.models.released_sam2 import convert_sam2, sam2_config

POINTS = {f'sam_prompt_encoder.point_embeddings.{point}.weight': torch.ones(1, 4)
          for point in range(4)}
PROMPTS = {**POINTS, 'sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix':
           torch.ones(2, 2)}


@pytest.mark.parametrize(('state', 'message'), [
    ({'image_encoder.head.weight': torch.ones(1), **PROMPTS}, 'unknown weight .image_encoder'),
    ({'trunk.weight': torch.ones(1)}, "unknown weight 'trunk.weight': only SAM 2 and 2.1"),
    (POINTS, 'lacks its prompt encoder'),
    (PROMPTS, '0 blocks, the first 0 channels wide, which is no published size')])
def test_other_checkpoints(tmp_path: Path, nothing_left, state: dict[str, torch.Tensor],
                           message: str) -> None:
    torch.save({'model': state}, tmp_path / 'a.pt')
    with pytest.raises(UserError, match=message) as caught:
        convert_sam2(tmp_path / 'a.pt', tmp_path / 'out')
    assert '\n' not in str(caught.value)
    nothing_left('a.pt')


def test_a_weight_that_is_missing(tmp_path: Path, tiny_sam2: dict[str, Any]) -> None:
    Sam2VideoConfig(**tiny_sam2).save_pretrained(tmp_path / 'config')
    torch.save({'model': PROMPTS}, tmp_path / 'a.pt')
    with pytest.raises(UserError, match=r'SAM 2 lacks weights \(\d+, such as mask_decoder\.'):
        convert_sam2(tmp_path / 'a.pt', tmp_path / 'out', str(tmp_path / 'config'))
    assert not (tmp_path / 'out').exists()


def test_a_configuration_of_something_else(tmp_path: Path) -> None:
    SegformerConfig().save_pretrained(tmp_path / 'config')
    with pytest.raises(UserError, match='no configuration of a SAM 2 video model'):
        sam2_config(str(tmp_path / 'config'))
