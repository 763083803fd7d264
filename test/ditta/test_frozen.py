"""The frozen stage against Eq. 3 on whole frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vseg_ros.ditta import frozen
from vseg_ros.ditta.frozen import DenseFusion, FrozenFusion, create_fusion
from vseg_ros.ditta.quantized_addon import QuantizedAddon
from vseg_ros.ditta.quantized_linear import multiplies_integers
from vseg_ros.ditta.temporal_addon import FrozenAddon, TemporalAddon
from vseg_ros.models.reliability import upsample
from vseg_ros.models.segmenter import Decoded
from vseg_ros.settings import FusionSettings, Precision

DEPTH, CLASSES, CELLS, SIZE = 8, 5, (8, 12), (32, 48)
PRECISIONS: tuple[Precision, ...] = ('float32', 'auto')


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


def settings(tau: float, memory: str = 'plain') -> FusionSettings:
    return FusionSettings(tau=tau, radius=2, memory=memory)


def literal_step(addon: TemporalAddon, before: Decoded, now: Decoded, tau: float,
                 ) -> tuple[Tensor, Tensor]:
    """
    Eq. 1 to 3 on the whole map: probabilities [C, h, w], and the weak cells.

    The reliability of the add-on is relative to the cells that listen to it.
    """
    plain = now.logits[0].softmax(0)
    spoken = addon(now.embedding, before.embedding, before.logits)[0].softmax(0)
    entropy = -(plain * plain.log()).sum(0)
    spoken_entropy = -(spoken * spoken.log()).sum(0)
    sure = 1 - entropy / entropy.max()
    weak = sure < tau
    spoken_sure = 1 - spoken_entropy / spoken_entropy[weak].max()
    weight = torch.where(weak, sure / (sure + spoken_sure), torch.ones_like(sure))
    return weight * plain + (1 - weight) * spoken, weak


@pytest.mark.parametrize('tau', [0.4, 0.8])
@pytest.mark.parametrize('seed', range(4))
def test_second_frame_is_fused_by_equation_3(addon: TemporalAddon, seed: int, tau: float) -> None:
    before, now = decoded(seed), decoded(seed + 50)
    fusion = FrozenFusion(addon.fold(), settings(tau))
    fusion.step(before, SIZE)
    scored = fusion.step(now, SIZE)
    expected, weak = literal_step(addon, before, now, tau)
    assert 0.1 < weak.float().mean() < 1
    scores = upsample(expected.log()[None], SIZE)[0]
    torch.testing.assert_close(scored.scores, scores, rtol=0, atol=1e-3)
    highest = scores.topk(2, 0).values
    clear = highest[0] - highest[1] > 1e-3
    assert torch.equal(scored.labels.long()[clear], scores.argmax(0)[clear])


@pytest.mark.parametrize('tau', [0.4, 0.8])
def test_what_a_gpu_computes_is_the_same(addon: TemporalAddon, tau: float) -> None:
    frames = [decoded(seed) for seed in (1, 7, 8)]
    usual = FrozenFusion(addon.fold(), settings(tau, 'fused'))
    expected = [usual.step(frame, SIZE).scores for frame in frames]
    everywhere = DenseFusion(addon.fold(), settings(tau, 'fused'))
    for frame, scores in zip(frames, expected, strict=True):
        torch.testing.assert_close(everywhere.step(frame, SIZE).scores, scores, rtol=0,
                                   atol=1e-4)


def test_the_layout_of_the_maps_in_memory_does_not_matter(addon: TemporalAddon) -> None:
    expected, found, turned = (FrozenFusion(addon.fold(), settings(0.8)) for _ in range(3))
    for seed in (1, 7):
        frame = decoded(seed)
        scores = expected.step(frame, SIZE).scores
        for fusion, maps in (
                (found, [x.contiguous(memory_format=torch.channels_last) for x in frame]),
                (turned, [x.transpose(2, 3).contiguous().transpose(2, 3) for x in frame])):
            other = fusion.step(Decoded(*maps), SIZE)
            torch.testing.assert_close(other.scores, scores, rtol=0, atol=1e-5)


def test_memory_of_fused_logits_reaches_further_back(addon: TemporalAddon) -> None:
    """Frame 3 listens to what frame 2 became after listening to frame 1."""
    frames = [decoded(seed) for seed in (1, 7, 8)]
    fusion = FrozenFusion(addon.fold(), settings(0.8, 'fused'))
    for frame in frames[:2]:
        fusion.step(frame, SIZE)
    middle, _ = literal_step(addon, frames[0], frames[1], 0.8)
    kept = Decoded(frames[1].embedding, middle.log()[None])
    expected, _ = literal_step(addon, kept, frames[2], 0.8)
    torch.testing.assert_close(fusion.step(frames[2], SIZE).scores,
                               upsample(expected.log()[None], SIZE)[0], rtol=0, atol=1e-3)


def test_first_frame_is_plain(addon: TemporalAddon) -> None:
    scored = FrozenFusion(addon.fold(), settings(0.8)).step(decoded(0), SIZE)
    plain = upsample(decoded(0).logits, SIZE)[0]
    torch.testing.assert_close(scored.scores, plain)
    assert torch.equal(scored.labels.long(), plain.argmax(0))


def test_memory_of_plain_logits_is_one_frame(addon: TemporalAddon) -> None:
    """As in the paper: what frame t - 2 was makes no difference."""
    results = []
    for first in (1, 2):
        fusion = FrozenFusion(addon.fold(), settings(0.8))
        fusion.step(decoded(first), SIZE)
        fusion.step(decoded(7), SIZE)
        results.append(fusion.step(decoded(8), SIZE).scores)
    assert torch.equal(*results)


def test_tau_of_zero_turns_the_addon_off(addon: TemporalAddon) -> None:
    fusion = FrozenFusion(addon.fold(), settings(0))
    fusion.step(decoded(0), SIZE)
    scored = fusion.step(decoded(1), SIZE)
    torch.testing.assert_close(scored.scores, upsample(decoded(1).logits, SIZE)[0])


def test_a_change_of_size_starts_anew(addon: TemporalAddon) -> None:
    fusion = FrozenFusion(addon.fold(), settings(0.8))
    fusion.step(decoded(0), SIZE)
    wide = decoded(1, (8, 16))
    scored = fusion.step(wide, (32, 64))
    torch.testing.assert_close(scored.scores, upsample(wide.logits, (32, 64))[0])
    fused = fusion.step(decoded(2, (8, 16)), (32, 64))
    assert not torch.allclose(fused.scores, upsample(decoded(2, (8, 16)).logits, (32, 64))[0])


def test_forgetting_starts_anew(addon: TemporalAddon) -> None:
    fusion = FrozenFusion(addon.fold(), settings(0.8))
    fusion.step(decoded(0), SIZE)
    fusion.forget()
    scored = fusion.step(decoded(1), SIZE)
    torch.testing.assert_close(scored.scores, upsample(decoded(1).logits, SIZE)[0])


@pytest.mark.parametrize('dense', [False, True])
@pytest.mark.parametrize('memory', ['plain', 'fused'])
def test_nan_in_a_frame_is_over_with_the_next(
        addon: TemporalAddon, memory: str, dense: bool) -> None:
    kind = DenseFusion if dense else FrozenFusion
    fusion = kind(addon.fold(), settings(0.8, memory))
    fusion.step(decoded(1), SIZE)
    broken = decoded(7)
    broken.logits[0, :, 3, 5] = torch.nan
    broken.embedding[0, :, 3, 5] = torch.nan
    assert not fusion.step(broken, SIZE).scores.isfinite().all()
    for seed in (8, 9):
        assert fusion.step(decoded(seed), SIZE).scores.isfinite().all()


def test_precision_chooses_the_products(addon: TemporalAddon,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(precision: Precision) -> object:
        return create_fusion(addon, settings(0.8), precision, torch.device('cpu')).addon

    assert isinstance(chosen('auto'), QuantizedAddon) == multiplies_integers()
    monkeypatch.setattr(frozen, 'multiplies_integers', lambda: False)
    assert isinstance(chosen('auto'), FrozenAddon)
    monkeypatch.setattr(frozen, 'multiplies_integers', lambda: True)
    formats: dict[Precision, torch.dtype] = {'float32': torch.float32,
                                             'bfloat16': torch.bfloat16}
    for precision, dtype in formats.items():
        exact = chosen(precision)
        assert isinstance(exact, FrozenAddon)
        assert exact.dtype == dtype


@pytest.mark.skipif(not multiplies_integers(),
                    reason='this processor has no products of 8-bit integers')
def test_fusion_with_integers_is_nearly_the_same(addon: TemporalAddon) -> None:
    exact, quantized = (create_fusion(addon, settings(0.8), precision, torch.device('cpu'))
                        for precision in PRECISIONS)
    for seed in (1, 7, 8):
        expected = exact.step(decoded(seed), SIZE).scores.softmax(0)
        found = quantized.step(decoded(seed), SIZE).scores.softmax(0)
        torch.testing.assert_close(found, expected, rtol=0, atol=0.05)
        assert (found - expected).abs().mean() < 0.002
