"""A network of random weights is timed with the weak cells that the benchmark says."""

from __future__ import annotations

import pytest
import torch

from vseg_ros.evaluation.bench.frozen_random import compare_random
from vseg_ros.evaluation.bench.scene import street_frames
from vseg_ros.evaluation.bench.weak_cells import cell_reliability, tau_for_share, weak_share
from vseg_ros.models.image_pipeline import ImageLabeller
from vseg_ros.models.reliability import reliability
from vseg_ros.settings import DittaSettings

SIZE = (96, 160)


def test_tau_is_passed_by_the_share_that_is_wanted() -> None:
    reliable = torch.rand(30, 40, generator=torch.Generator().manual_seed(0))
    tau = tau_for_share(reliable, 0.25)
    below = sum(value < tau for value in reliable.flatten().tolist())
    assert below == 299  # the 300th least is tau itself
    assert weak_share([reliable, torch.ones(30, 40)], tau) == pytest.approx(below / 2400)


def test_nothing_is_below_the_least_tau() -> None:
    reliable = torch.rand(3, 4)
    assert weak_share([reliable], tau_for_share(reliable, 0.0)) == 0


def test_cells_are_weak_where_they_are_for_the_trained_network() -> None:
    settings = DittaSettings(device='cpu')
    trained = ImageLabeller(settings).runtime
    maps = [reliability(trained.infer(frame.image).logits.softmax(1).log())[0]
            for frame in street_frames(3, 3, SIZE)]
    torch.testing.assert_close(
        cell_reliability(trained.infer(street_frames(3, 1, SIZE)[0].image).logits), maps[0])
    numbers = compare_random('b0', settings.segmenter, 0.3, *SIZE, seed=3, frames=2)
    least = maps[0].flatten().sort().values[round(0.3 * maps[0].numel()) - 1]
    assert numbers['weak_cells'] == pytest.approx(
        float((torch.stack(maps[1:]) < least).float().mean()), abs=2e-3)
    # random weights are as unsure of every frame
    assert numbers['scattered_weak_cells'] == pytest.approx(0.3, abs=0.1)
    assert numbers['weak_cells'] != numbers['scattered_weak_cells']
    for key in ('fps_over_iss', 'scattered_fps_over_iss'):
        assert 0 < numbers[f'{key}_low'] <= numbers[key] <= numbers[f'{key}_high']
