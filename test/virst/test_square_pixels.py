"""Frames for vision towers, beside the library that the published models were trained with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vseg_ros.virst.square_pixels import IMAGENET_MEAN, IMAGENET_STD, square_pixels

CPU = torch.device('cpu')


def test_normalised_as_imagenet() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    pixels = square_pixels([image, image], 8, CPU, torch.float32)
    assert pixels.shape == (2, 3, 8, 8)
    for channel in range(3):
        expected = (image[..., channel] / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        np.testing.assert_allclose(pixels[1, channel], expected, atol=1e-6)


@pytest.mark.parametrize(('height', 'width'), [(40, 70), (300, 500), (64, 20)])
def test_resized_as_the_imaging_library_does(height: int, width: int) -> None:
    pillow = pytest.importorskip('PIL.Image', reason='Pillow is not installed')
    blocks = np.random.default_rng(1).integers(0, 256, (height // 4, width // 4, 3))
    image = np.kron(blocks, np.ones((4, 4, 1))).astype(np.uint8)
    pixels = square_pixels([image], 64, CPU, torch.float32)[0]
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    levels = ((pixels * std + mean) * 255).permute(1, 2, 0).numpy()
    resized = pillow.fromarray(image).resize((64, 64), pillow.Resampling.BICUBIC)
    assert np.abs(levels - np.asarray(resized, np.float64)).max() < 2.1


def test_number_format() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    assert square_pixels([image], 4, CPU, torch.bfloat16).dtype == torch.bfloat16
