"""Upsampling as a product."""

from __future__ import annotations

import pytest
import torch

from vseg_ros.models.bilinear import interpolation, kept_interpolation
from vseg_ros.models.reliability import upsample


@pytest.mark.parametrize(('target', 'source'), [(8, 4), (64, 8), (7, 7), (16, 1), (10, 4)])
def test_interpolation_is_the_upsampling_of_one_axis(target: int, source: int) -> None:
    values = torch.randn(1, 3, source, 1, generator=torch.Generator().manual_seed(0))
    expected = upsample(values, (target, 1))[0, :, :, 0].T
    torch.testing.assert_close(interpolation(target, source) @ values[0, :, :, 0].T, expected)


def test_a_matrix_that_a_frozen_frame_made_can_be_learned_through() -> None:
    with torch.inference_mode():
        kept_interpolation(23, 9)
    values = torch.randn(9, requires_grad=True)
    (kept_interpolation(23, 9) @ values).square().sum().backward()
    assert values.grad is not None
