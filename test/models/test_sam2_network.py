"""SAM 2's steps on several frames at once, and prompts by embeddings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Sam2VideoConfig, Sam2VideoModel

from vseg_ros.models.nano_sam2 import new_nano_sam2
from vseg_ros.models.sam2_network import (
    ImageFeatures,
    Sam2Network,
    Segmented,
    one_convolution,
    paint_points,
)

SIDE, FRAMES = 64, 3


@pytest.fixture(scope='module', params=['nano', 'hiera'])
def network(request: pytest.FixtureRequest, tiny_sam2: dict[str, Any]) -> Sam2Network:
    """Make a small SAM 2 of this package, and one of transformers' form, in double precision."""
    torch.manual_seed(0)
    model: Any = (new_nano_sam2(side=SIDE, width=64) if request.param == 'nano'
                  else Sam2VideoModel(Sam2VideoConfig(**tiny_sam2)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if '.backbone.' not in name:
                parameter += 0.05 * torch.randn(parameter.shape)
    return Sam2Network(model.double().eval().requires_grad_(False))


@pytest.fixture(scope='module')
def images() -> Tensor:
    return torch.randn(FRAMES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).double()


@pytest.fixture(scope='module')
def features(network: Sam2Network, images: Tensor) -> ImageFeatures:
    return network.encode_image(images)


def frame(features: ImageFeatures, index: int) -> ImageFeatures:
    return ImageFeatures(features.fine[index:index + 1], features.medium[index:index + 1],
                         features.tokens[:, index:index + 1])


def same(found: Segmented, expected: list[Segmented]) -> None:
    for name in Segmented._fields:
        torch.testing.assert_close(getattr(found, name),
                                   torch.cat([getattr(each, name) for each in expected]),
                                   atol=1e-7, rtol=1e-7)
    assert not torch.allclose(found.seen[0], found.seen[1], atol=1e-3)


def test_frames_are_encoded_together_as_alone(network: Sam2Network, images: Tensor,
                                              features: ImageFeatures) -> None:
    maps = network.encode_backbone(images)
    for level, stride in zip(maps, (4, 8, 16, 32), strict=True):
        assert level.shape[:3] == (FRAMES, SIDE // stride, SIDE // stride)
    for index in range(FRAMES):
        alone = network.encode_maps([each[index:index + 1] for each in maps])
        for ours, theirs in zip(frame(features, index), alone, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    assert features.tokens.shape[:2] == (SIDE ** 2 // 256, FRAMES)


POINTS = torch.tensor([[[[10., 12.], [40., 3.]]], [[[33., 60.], [5., 5.]]],
                       [[[50., 50.], [20., 31.]]]])
LABELS = torch.tensor([[[1, 0]], [[1, 1]], [[1, 0]]], dtype=torch.int32)


def test_points_on_several_frames_are_those_of_each(network: Sam2Network,
                                                    features: ImageFeatures) -> None:
    same(network.segment_points(features, POINTS, LABELS),
         [network.segment_points(frame(features, index), POINTS[index:index + 1],
                                 LABELS[index:index + 1]) for index in range(FRAMES)])


def test_masks_on_several_frames_are_those_of_each(network: Sam2Network,
                                                   features: ImageFeatures) -> None:
    masks = torch.zeros(FRAMES, 1, SIDE, SIDE).double()
    masks[0, 0, 5:30, 10:50], masks[1, 0, 40:, :20] = 1, 1
    found = network.segment_mask(features, masks)
    same(found, [network.segment_mask(frame(features, index), masks[index:index + 1])
                 for index in range(FRAMES)])
    assert [float(score) > 0 for score in found.scores] == [True, True, False]


def test_embeddings_of_a_point_find_what_the_point_finds(network: Sam2Network,
                                                         features: ImageFeatures) -> None:
    first, labels = POINTS[:, :, :1].double(), LABELS[:, :, :1]
    by_points = network.segment_points(features, first, labels)
    sparse, _ = network._model.prompt_encoder(input_points=first, input_labels=labels,
                                              input_boxes=None, input_masks=None)
    coarse = paint_points(first, labels, SIDE)[:, 0] if network.paints_points else None
    several = network._several_masks(1)
    same(network.segment_prompts(features, sparse[:, 0], several, coarse), [by_points])
    # one frame serves all of its objects
    one = network.segment_prompts(frame(features, 1), sparse[:, 0], several, coarse)
    torch.testing.assert_close(one.seen[1], by_points.seen[1], atol=1e-5, rtol=1e-5)


def test_a_coarse_mask_of_any_size_changes_what_is_found(network: Sam2Network,
                                                         features: ImageFeatures) -> None:
    prompts = torch.randn(FRAMES, 2, features.tokens.shape[2]).double()
    coarse = torch.zeros(FRAMES, 4, 4)
    coarse[:, :2] = 1
    without = network.segment_prompts(features, prompts)
    given = network.segment_prompts(features, prompts, coarse=coarse)
    assert not torch.allclose(given.seen, without.seen, atol=1e-4)
    fine = torch.nn.functional.interpolate(coarse[:, None], (SIDE // 4, SIDE // 4),
                                           mode='bilinear')[:, 0]
    same(network.segment_prompts(features, prompts, coarse=fine), [given])


def test_what_is_hidden_is_seen_all_the_same(network: Sam2Network,
                                             features: ImageFeatures) -> None:
    found = network.segment_points(features, POINTS, LABELS)
    for number in range(FRAMES):
        if found.scores[number] > 0:
            assert torch.equal(found.logits[number], found.seen[number])
        else:
            assert (found.logits[number] == -1024).all()
    assert found.seen.abs().max() < 1000
    assert found.qualities.shape == (FRAMES,)
    assert ((found.qualities >= 0) & (found.qualities <= 1)).all()


def test_memory_masks_have_the_size_that_memories_are_made_of(network: Sam2Network) -> None:
    logits = torch.randn(2, 1, SIDE // 4, SIDE // 4).double()
    sized = network.memory_masks(logits)
    assert sized.shape[-2:] == (network.memory_side,) * 2
    if network.paints_points:
        assert sized is logits
    else:
        assert network.memory_side == SIDE
    assert network.memory_masks(torch.randn(2, 1, 128, 128)).shape == sized.shape


def test_points_are_painted_as_spots() -> None:
    painted = paint_points(POINTS, LABELS, SIDE)
    assert painted.shape == (FRAMES, 1, SIDE // 4, SIDE // 4)
    for number in range(FRAMES):
        for row in range(SIDE // 4):
            for column in range(SIDE // 4):
                expected = 0.0
                for (x, y), label in zip(POINTS[number, 0].tolist(), LABELS[number, 0].tolist(),
                                         strict=True):
                    distance = (4 * column + 1.5 - x) ** 2 + (4 * row + 1.5 - y) ** 2
                    expected += (1 if label else -1) * math.exp(-distance / 200)
                assert float(painted[number, 0, row, column]) == pytest.approx(expected, abs=1e-5)


def test_two_convolutions_are_one() -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(5, 8, 1), nn.Conv2d(8, 3, 1)
    maps = torch.randn(2, 5, 6, 7)
    torch.testing.assert_close(one_convolution(maps, first, second), second(first(maps)),
                               atol=1e-5, rtol=1e-5)
