"""From the vision tower's tokens to the language model's."""

from __future__ import annotations

import pytest
import torch

from vseg_ros.virst.token_merging import merge_tokens
from vseg_ros.virst.video_projector import VideoProjector


@pytest.mark.parametrize(('frames', 'tokens', 'kept'), [(4, 80, 64), (1, 80, 64), (4, 12, 12)])
def test_number_of_tokens(frames: int, tokens: int, kept: int) -> None:
    torch.manual_seed(0)
    projector = VideoProjector(8, 6, 2)
    values = torch.randn(2, tokens, 8)
    merged = merge_tokens(values, kept, 2)
    first, _, last = projector.mlp
    hidden = merged @ first.weight.T + first.bias
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / 2 ** 0.5))
    torch.testing.assert_close(projector(values, frames), hidden @ last.weight.T + last.bias)
