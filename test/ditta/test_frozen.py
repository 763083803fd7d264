"""The frozen stage against Eq. 3 on whole frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vseg_ros.ditta.frozen import FrozenFusion
from vseg_ros.ditta.temporal_addon import TemporalAddon
from vseg_ros.models.labelling import Scores
from vseg_ros.models.reliability import upsample
from vseg_ros.models.segmenter import Decoded

DEPTH, CLASSES, CELLS, SIZE = 8, 5, (8, 12), (32, 48)


def smooth_maps(seed: int, channels: int, cells: tuple[int, int] = CELLS) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, channels, 3, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=cells, mode='bicubic')


def decoded(seed: int, cells: tuple[int, int] = CELLS) -> Decoded:
    return Decoded(smooth_maps(seed, DEPTH, cells), 6 * smooth_maps(seed + 100, CLASSES, cells))


@pytest.fixture
def addon() -> TemporalAddon:
    torch.manual_seed(3)
    addon = TemporalAddon(DEPTH, 2)
    with torch.no_grad():
        for parameter in addon.parameters():
            parameter.mul_(2)
    return addon.requires_grad_(False)


def literal_step(addon: TemporalAddon, before: Decoded, now: Decoded, tau: float,
                 ) -> tuple[Tensor, Tensor, Tensor]:
    """
    Eq. 1 to 3 on the whole frame, [C, H, W]: probabilities, their reliability, and weak pixels.

    The reliability of the add-on is relative to the pixels that listen to it.
    """
    plain = upsample(now.logits, SIZE)[0].softmax(0)
    temporal = addon(now.embedding, before.embedding, before.logits)
    spoken = upsample(temporal, SIZE)[0].softmax(0)
    entropy = -(plain * plain.log()).sum(0)
    spoken_entropy = -(spoken * spoken.log()).sum(0)
    sure = 1 - entropy / entropy.max()
    weak = sure < tau
    spoken_sure = 1 - spoken_entropy / spoken_entropy[weak].max()
    weight = torch.where(weak, sure / (sure + spoken_sure), torch.ones_like(sure))
    return (weight * plain + (1 - weight) * spoken, weight * sure + (1 - weight) * spoken_sure,
            weak)


def probabilities(scored: Scores) -> Tensor:
    return scored.scores.softmax(0)


@pytest.mark.parametrize('tau', [0.4, 0.8])
@pytest.mark.parametrize('seed', range(4))
def test_second_frame_is_fused_by_equation_3(addon: TemporalAddon, seed: int, tau: float) -> None:
    before, now = decoded(seed), decoded(seed + 50)
    fusion = FrozenFusion(addon.fold(), tau)
    fusion.step(before, SIZE)
    scored, sure = fusion.step(now, SIZE)
    expected, expected_sure, weak = literal_step(addon, before, now, tau)
    assert 0.1 < weak.float().mean() < 1
    torch.testing.assert_close(probabilities(scored), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(sure, expected_sure, rtol=0, atol=1e-4)
    highest = expected.topk(2, 0).values
    clear = highest[0] - highest[1] > 1e-4
    assert torch.equal(scored.labels.long()[clear], expected.argmax(0)[clear])
    assert 0 <= sure.min() <= sure.max() <= 1


def test_first_frame_is_plain(addon: TemporalAddon) -> None:
    scored, sure = FrozenFusion(addon.fold(), 0.8).step(decoded(0), SIZE)
    plain = upsample(decoded(0).logits, SIZE)[0]
    torch.testing.assert_close(scored.scores, plain)
    assert torch.equal(scored.labels.long(), plain.argmax(0))
    assert torch.equal(sure, scored.reliability)


def test_frame_before_counts_unfused(addon: TemporalAddon) -> None:
    """The memory is the decoder's output of frame t - 1, whatever frame t - 2 was."""
    results = []
    for first in (1, 2):
        fusion = FrozenFusion(addon.fold(), 0.8)
        fusion.step(decoded(first), SIZE)
        fusion.step(decoded(7), SIZE)
        results.append(fusion.step(decoded(8), SIZE)[0].scores)
    assert torch.equal(*results)


def test_tau_of_zero_turns_the_addon_off(addon: TemporalAddon) -> None:
    fusion = FrozenFusion(addon.fold(), 0)
    fusion.step(decoded(0), SIZE)
    scored, _ = fusion.step(decoded(1), SIZE)
    torch.testing.assert_close(scored.scores, upsample(decoded(1).logits, SIZE)[0])


def test_a_change_of_size_starts_anew(addon: TemporalAddon) -> None:
    fusion = FrozenFusion(addon.fold(), 0.8)
    fusion.step(decoded(0), SIZE)
    wide = decoded(1, (8, 16))
    scored, _ = fusion.step(wide, (32, 64))
    torch.testing.assert_close(scored.scores, upsample(wide.logits, (32, 64))[0])
    fused, _ = fusion.step(decoded(2, (8, 16)), (32, 64))
    assert not torch.allclose(fused.scores, upsample(decoded(2, (8, 16)).logits, (32, 64))[0])


def test_forgetting_starts_anew(addon: TemporalAddon) -> None:
    fusion = FrozenFusion(addon.fold(), 0.8)
    fusion.step(decoded(0), SIZE)
    fusion.forget()
    scored, _ = fusion.step(decoded(1), SIZE)
    torch.testing.assert_close(scored.scores, upsample(decoded(1).logits, SIZE)[0])
