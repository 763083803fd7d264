"""An overlay made on a device is the one that a processor draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.labels import DRIVING, LabelSet
from vseg_ros.models.device_overlay import DeviceOverlay, overlay_for

NOISE = np.random.default_rng(4)
CPU = torch.device('cpu')
MANY = LabelSet.from_names([f'thing {index}' for index in range(300)])


@pytest.mark.parametrize('label_set', [DRIVING, MANY])
def test_it_is_what_a_processor_draws(label_set: LabelSet) -> None:
    image = NOISE.integers(0, 256, (37, 53, 3), np.uint8)
    image.flags.writeable = False
    labels = NOISE.integers(0, len(label_set) + 1, (37, 53)).astype(label_set.dtype)
    labels[labels == len(label_set)] = label_set.ignore_id
    assert (labels == label_set.ignore_id).any()
    drawn = DeviceOverlay(label_set, CPU)(image, labels)
    assert (drawn.dtype, drawn.flags['C_CONTIGUOUS']) == (np.uint8, True)
    expected = label_set.overlay(image, labels)
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    assert (drawn != expected).mean() < 0.02


def test_opacity_is_that_of_the_labels() -> None:
    image = NOISE.integers(0, 256, (5, 6, 3), np.uint8)
    labels = np.full((5, 6), 2, np.uint8)
    labels[0, 0] = DRIVING.ignore_id
    painted = DeviceOverlay(DRIVING, CPU, 1.0)(image, labels)
    np.testing.assert_array_equal(painted[0, 0], image[0, 0])
    assert (painted.reshape(-1, 3)[1:] == DRIVING.palette[2]).all()
    np.testing.assert_array_equal(DeviceOverlay(DRIVING, CPU, 0.0)(image, labels), image)


def test_a_processor_draws_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert overlay_for(DRIVING, 'cpu') == DRIVING.overlay
    monkeypatch.setattr('vseg_ros.models.device_overlay.select_device',
                        lambda name: torch.device('meta'))
    assert isinstance(overlay_for(DRIVING, 'cuda'), DeviceOverlay)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match='is not on this machine'):
        overlay_for(DRIVING, 'cuda')
