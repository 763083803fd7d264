"""TDAU on a small SAM 2 with random weights: against single steps, one object at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Sam2VideoConfig, Sam2VideoModel

from vseg_ros.models.sam2_memory import Recollection
from vseg_ros.models.sam2_network import ImageFeatures, Sam2Network, Segmented
from vseg_ros.settings import AnchorSettings
from vseg_ros.virst.anchor_updater import (
    AnchorPrompt,
    AnchorUpdater,
    choose_anchors,
    stack_features,
)

FRAMES, WIDTH = 8, 128
SETTINGS = AnchorSettings(attended=2, memory=4)


@pytest.fixture(scope='module')
def network(tiny_sam2: dict[str, Any]) -> Sam2Network:
    model: Any = Sam2VideoModel(Sam2VideoConfig(**tiny_sam2))
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=1.2 / parameter[0].numel() ** 0.5,
                            generator=generator)
        elif 'norm' not in name:
            nn.init.normal_(parameter, std=0.3, generator=generator)
    # in sight on every frame, and attending to all memories alike: then all of them count
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(9.0)
    for layer in model.memory_attention.layers:
        layer.cross_attn_image.q_proj.weight.data.mul_(0.02)
        layer.cross_attn_image.o_proj.weight.data.mul_(4.0)
    return Sam2Network(model.eval().requires_grad_(False))


@pytest.fixture(scope='module')
def features(network: Sam2Network) -> list[ImageFeatures]:
    pixels = torch.randn(FRAMES, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return [network.encode_image(image[None]) for image in pixels]


def prompt(seed: int, objects: int = 1) -> AnchorPrompt:
    generator = torch.Generator().manual_seed(seed)
    return AnchorPrompt(torch.randn(objects, 2, WIDTH, generator=generator),
                        torch.rand(objects, 4, 4, generator=generator))


def literal_window(network: Sam2Network, features: list[ImageFeatures],
                   anchors: dict[int, AnchorPrompt], several: bool) -> list[Segmented]:
    """Anchors first; then every frame looks at the two nearest anchors and four frames back."""
    found: dict[int, Segmented] = {}
    spatial: dict[int, Tensor] = {}

    def keep(frame: int, result: Segmented) -> None:
        found[frame] = result
        spatial[frame] = network.encode_memory(
            features[frame], network.memory_masks(result.logits), result.scores, False)[0]

    for frame, wanted in anchors.items():
        keep(frame, network.segment_prompts(features[frame], wanted.tokens, several,
                                            wanted.coarse))
    for frame in range(FRAMES):
        if frame in anchors:
            continue
        before = [each for each in sorted(anchors) if each < frame]
        after = [each for each in sorted(anchors) if each > frame]
        if before and after:
            chosen = [before[-1], after[0]]
        else:
            chosen = before[:-3:-1] if before else after[:2]
        seen = {frame - back: back for back in (3, 2, 1)
                if frame - back in found and frame - back not in chosen}
        pointed = {frame - back: back for back in range(1, network.pointers)
                   if frame - back in found and frame - back not in chosen}
        past = [each for each in chosen if each < frame]
        recollection = Recollection(
            (0,) * len(chosen) + tuple(seen.values()),
            tuple(spatial[each] for each in (*chosen, *seen)),
            tuple(frame - each for each in past) + tuple(pointed.values()),
            tuple(found[each].pointers[0] for each in (*past, *pointed)))
        keep(frame, network.segment_remembered(features[frame], [recollection]))
    return [found[frame] for frame in range(FRAMES)]


@pytest.mark.parametrize('several', [False, True])
@pytest.mark.parametrize('anchors', [(0, 3, 7), (5,), (2, 3)])
def test_a_window_is_what_single_steps_give(network: Sam2Network, features: list[ImageFeatures],
                                            anchors: tuple[int, ...], several: bool) -> None:
    asked = {frame: prompt(frame) for frame in anchors}
    found = AnchorUpdater(network, SETTINGS, several).run(
        range(FRAMES), features.__getitem__, asked)
    for ours, expected in zip(found, literal_window(network, features, asked, several),
                              strict=True):
        for name in ('logits', 'seen', 'pointers', 'scores', 'qualities'):
            torch.testing.assert_close(getattr(ours, name), getattr(expected, name), atol=1e-4,
                                       rtol=1e-4)


def test_objects_at_once_are_objects_one_by_one(network: Sam2Network,
                                                features: list[ImageFeatures]) -> None:
    asked = {0: prompt(0, 3), 7: prompt(7, 3)}
    together = AnchorUpdater(network, SETTINGS).run(range(FRAMES), features.__getitem__, asked)
    for number in range(3):
        one = slice(number, number + 1)
        alone = AnchorUpdater(network, SETTINGS).run(
            range(FRAMES), features.__getitem__,
            {frame: AnchorPrompt(each.tokens[one], each.coarse[one])
             for frame, each in asked.items()})
        for many, single in zip(together, alone, strict=True):
            # memories are kept in bfloat16: what a batch rounds otherwise may tip one of them
            torch.testing.assert_close(many.seen[one], single.seen, atol=1e-3, rtol=1e-3)


def test_videos_at_once_are_videos_one_by_one(network: Sam2Network,
                                              features: list[ImageFeatures]) -> None:
    """Two objects, the second in the same video played backward."""
    def both(index: int) -> ImageFeatures:
        forward, backward = features[index], features[FRAMES - 1 - index]
        return ImageFeatures(torch.cat((forward.fine, backward.fine)),
                             torch.cat((forward.medium, backward.medium)),
                             torch.cat((forward.tokens, backward.tokens), 1))

    asked = {1: prompt(4, 2)}
    together = AnchorUpdater(network, SETTINGS).run(range(FRAMES), both, asked)
    backward = AnchorUpdater(network, SETTINGS).run(
        range(FRAMES), features[::-1].__getitem__,
        {1: AnchorPrompt(asked[1].tokens[1:], asked[1].coarse[1:])})
    for many, single in zip(together, backward, strict=True):
        torch.testing.assert_close(many.seen[1:], single.seen, atol=1e-4, rtol=1e-4)


def test_an_anchor_ahead_is_seen_and_a_frame_ahead_is_not(
        network: Sam2Network, features: list[ImageFeatures]) -> None:
    def masks(last: AnchorPrompt, images: list[ImageFeatures]) -> list[Tensor]:
        found = AnchorUpdater(network, SETTINGS).run(
            range(FRAMES), images.__getitem__, {0: prompt(0), 7: last})
        return [each.seen for each in found]

    first = masks(prompt(7), features)
    assert not torch.allclose(first[3], masks(prompt(8), features)[3])
    changed = [*features[:5], features[2], *features[6:]]
    later = masks(prompt(7), changed)
    assert torch.equal(first[4], later[4])
    assert not torch.allclose(first[6], later[6])


def test_a_copy_goes_its_own_way(network: Sam2Network, features: list[ImageFeatures]) -> None:
    updater = AnchorUpdater(network, SETTINGS)
    updater.anchor(0, features[0], prompt(0))
    twin = updater.copy()
    twin.anchor(1, features[1], prompt(1))
    twin.propagate(2, features[2])
    expected = AnchorUpdater(network, SETTINGS)
    expected.anchor(0, features[0], prompt(0))
    assert torch.equal(updater.propagate(3, features[3]).seen,
                       expected.propagate(3, features[3]).seen)
    assert not torch.equal(twin.propagate(3, features[3]).seen,
                           expected.propagate(3, features[3]).seen)


def test_nothing_to_propagate(network: Sam2Network, features: list[ImageFeatures]) -> None:
    with pytest.raises(ValueError, match='predict an anchor first'):
        AnchorUpdater(network, SETTINGS).propagate(0, features[0])


@pytest.mark.parametrize(('frames', 'count', 'expected'), [
    (1, 1, [0]), (1, 3, [0]), (2, 3, [0, 1]), (3, 3, [0, 1, 2]), (5, 1, [0]), (5, 2, [0, 4]),
    (8, 3, [0, 4, 7]), (9, 3, [0, 4, 8]), (100, 5, [0, 25, 50, 74, 99])])
def test_anchors_are_evenly_spaced(frames: int, count: int, expected: list[int]) -> None:
    assert choose_anchors(frames, count) == expected


def test_anchors_of_any_window() -> None:
    for frames in range(1, 40):
        for count in range(1, 12):
            chosen = choose_anchors(frames, count)
            assert len(chosen) == min(frames, count)
            assert chosen == sorted(set(chosen))
            assert chosen[0] == 0
            if len(chosen) > 1:
                gaps = [after - before for before, after in pairwise(chosen)]
                assert chosen[-1] == frames - 1
                assert max(gaps) - min(gaps) <= 1


def test_stacked_features_are_maps(network: Sam2Network, features: list[ImageFeatures]) -> None:
    stacked = stack_features(features[:3])
    assert stacked.shape == (1, 3, WIDTH, 4, 4)
    assert torch.equal(stacked[0, 2, :, 1, 3], features[2].tokens[1 * 4 + 3, 0])
