"""The queries' part in its quick form gives what the form beside the paper gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vseg_ros.time2general.deformable_attention import ClipMemory
from vseg_ros.time2general.frozen_queries import FrozenQueries, read_joined
from vseg_ros.time2general.memory_decoder import class_scores
from vseg_ros.time2general.model import Time2General

SIZES = ((4, 7), (8, 14), (3, 2))  # the finest is not the first, and one has but few cells
CELLS = sum(height * width for height, width in SIZES)
BLOCKS = {'blocks': (1, 2, 3), 'clip_length': 3}


@pytest.fixture
def model(new_model: Callable[..., Time2General]) -> Time2General:
    return new_model(**BLOCKS)


def frames(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(CELLS, 16, generator=generator) for _ in range(count)]


def literal(model: Time2General, clip: list[Tensor]) -> Tensor:
    return model.head.attend(ClipMemory(torch.stack(clip)[None], SIZES))[-1][0]


@pytest.mark.parametrize('length', [1, 2, 3])
def test_attends_as_the_decoder(model: Time2General, length: int) -> None:
    queries = FrozenQueries(model.head)
    clip = frames(length)
    expected = literal(model, clip)
    assert expected.std() > 0.1
    torch.testing.assert_close(queries.attend(clip, SIZES), expected, rtol=1e-4, atol=1e-5)
    changed = [*clip[:-1], clip[-1].flip(0)]
    torch.testing.assert_close(queries.attend(changed, SIZES), literal(model, changed),
                               rtol=1e-4, atol=1e-5)
    assert (literal(model, changed) - expected).abs().max() > 0.01


def test_another_size_looks_elsewhere(model: Time2General) -> None:
    queries = FrozenQueries(model.head)
    queries.attend(frames(2), SIZES)
    other = ((7, 4), (14, 8), (2, 3))
    clip = frames(2)
    expected = model.head.attend(ClipMemory(torch.stack(clip)[None], other))[-1][0]
    torch.testing.assert_close(queries.attend(clip, other), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('seen', [0, 1, 2])
def test_frames_in_one_tensor_of_which_some_do_not_count(model: Time2General, seen: int) -> None:
    queries = FrozenQueries(model.head)
    clip = frames(3)
    joined = torch.stack(clip)
    joined[:2 - seen] = 1e6  # must not be read
    slots = torch.tensor([2 - seen + t for t in range(3)]).clamp_max(2)
    absent = torch.tensor([0.0 if t <= seen else -torch.inf for t in range(3)])
    found = queries.steps(lambda aim: read_joined(joined, slots, aim), queries.grid(SIZES, 3), 3,
                          absent)
    torch.testing.assert_close(found, literal(model, clip[2 - seen:]), rtol=1e-4, atol=1e-5)


def test_decodes_as_the_head(model: Time2General) -> None:
    fused, attended = torch.randn(1, 16, 5, 6), torch.randn(1, 6, 16)
    expected = class_scores(model.head.predict(attended, fused))[0, 0]
    found = FrozenQueries(model.head).decode(attended[0], fused[0].flatten(1))
    assert expected.std() > 0.1
    torch.testing.assert_close(found.view_as(expected), expected, rtol=1e-4, atol=1e-5)
