"""Modulation by Stability Queries against loops that follow Eq. 1 and 2 word by word."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vseg_ros.time2general.stability_queries import QueryAttention, StabilityQueries

CHANNELS, DEPTH_CHANNELS = (5, 7), (4, 6)
SIZES = ((3, 4), (2, 3))
FRAMES, QUERIES, WIDTH = 2, 6, 8


def literal_z(attention: QueryAttention, queries: Tensor, tokens: Tensor) -> Tensor:
    """Z of Eq. 1 for the tokens [N, C] of one frame; keys, values and A [Q, N] made."""
    wq, wk, wv = (layer.weight.T for layer in (attention.query, attention.key, attention.value))
    count = len(tokens)
    keys = torch.stack([tokens[n] @ wk for n in range(count)])
    values = torch.stack([tokens[n] @ wv for n in range(count)])
    z = torch.zeros(count, queries.shape[1], dtype=queries.dtype)
    for query in queries:
        asked = query @ wq
        scores = [math.exp(float(asked @ keys[n]) / math.sqrt(len(asked))) for n in range(count)]
        share = [score / sum(scores) for score in scores]
        summary = sum(share[n] * values[n] for n in range(count))
        for n in range(count):
            z[n] += share[n] * summary
    return z


def literal_norm(row: Tensor, norm: nn.LayerNorm) -> Tensor:
    centred = row - row.sum() / len(row)
    variance = (centred ** 2).sum() / len(row)
    return centred / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias


def row_by_row(plane: Tensor) -> Tensor:
    """Lay a map [C, H, W] out as tokens [N, C]."""
    return torch.stack([plane[:, y, x] for y in range(plane.shape[1])
                        for x in range(plane.shape[2])])


def literal(module: StabilityQueries, queries: Tensor, features: list[Tensor],
            depth: list[Tensor]) -> list[Tensor]:
    found = []
    for block in range(len(features)):
        frames = []
        for frame in range(FRAMES):
            tokens = row_by_row(features[block][frame])
            rows = [module.project[block].weight @ token + module.project[block].bias
                    for token in tokens]
            if len(module.attention):
                z = literal_z(module.attention[block], queries, tokens)
                if depth:
                    beta = 1 / (1 + math.exp(-float(module.gate.logits[block])))
                    z_depth = literal_z(module.depth_attention[block], queries,
                                        row_by_row(depth[block][frame]))
                    z = beta * z + (1 - beta) * z_depth
                rows = [row + change for row, change in zip(rows, z, strict=True)]
            frames.append(torch.stack([literal_norm(row, module.norm[block]) for row in rows]))
        found.append(torch.stack(frames))
    return found


def maps(channels: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(FRAMES, width, *size, dtype=torch.float64)
            for width, size in zip(channels, SIZES, strict=True)]


@pytest.mark.parametrize(('modulation', 'with_depth'), [(True, False), (True, True),
                                                        (False, False), (False, True)])
def test_against_the_paper(make_spread: Callable[..., nn.Module], modulation: bool,
                           with_depth: bool) -> None:
    module = StabilityQueries(CHANNELS, QUERIES, WIDTH, modulation=modulation,
                              depth_channels=DEPTH_CHANNELS if with_depth else ()).double()
    make_spread(module, 0.5)
    features = maps(CHANNELS)
    depth = maps(DEPTH_CHANNELS) if with_depth else []
    queries = torch.randn(QUERIES, WIDTH, dtype=torch.float64)  # as a text prior would bias them
    with torch.no_grad():
        found = module(tuple(features), queries, tuple(depth))
        expected = literal(module, queries, features, depth)
    assert [each.shape for each in found] == [(FRAMES, 12, WIDTH), (FRAMES, 6, WIDTH)]
    for values, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(values, reference)


def test_queries_matter_only_with_modulation(make_spread: Callable[..., nn.Module]) -> None:
    features = tuple(maps(CHANNELS))
    for modulation in (True, False):
        module = StabilityQueries(CHANNELS, QUERIES, WIDTH, modulation=modulation).double()
        make_spread(module, 0.5)
        first = module(features, module.queries)
        second = module(features, module.queries + 1)
        changed = [not torch.allclose(a, b, atol=1e-4)
                   for a, b in zip(first, second, strict=True)]
        assert changed == [modulation, modulation]


def test_a_frame_does_not_see_the_others(make_spread: Callable[..., nn.Module]) -> None:
    module = StabilityQueries(CHANNELS, QUERIES, WIDTH, depth_channels=DEPTH_CHANNELS).double()
    make_spread(module, 0.5)
    features, depth = maps(CHANNELS), maps(DEPTH_CHANNELS)
    together = module(tuple(features), module.queries, tuple(depth))
    for frame in range(FRAMES):
        alone = module(tuple(each[frame:frame + 1] for each in features), module.queries,
                       tuple(each[frame:frame + 1] for each in depth))
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[frame])


@pytest.mark.parametrize('with_depth', [False, True])
def test_all_of_it_learns(make_spread: Callable[..., nn.Module], with_depth: bool) -> None:
    module = StabilityQueries(CHANNELS, QUERIES, WIDTH,
                              depth_channels=DEPTH_CHANNELS if with_depth else ())
    make_spread(module)
    features = tuple(each.float() for each in maps(CHANNELS))
    depth = tuple(each.float() for each in maps(DEPTH_CHANNELS)) if with_depth else ()
    target = [torch.randn(FRAMES, 12, WIDTH), torch.randn(FRAMES, 6, WIDTH)]
    found = module(features, module.queries, depth)
    sum((a - b).square().sum() for a, b in zip(found, target, strict=True)).backward()
    for name, value in module.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 1e-6, name


def test_ablation_has_no_attention_to_train() -> None:
    plain = StabilityQueries(CHANNELS, QUERIES, WIDTH, modulation=False,
                             depth_channels=DEPTH_CHANNELS)
    assert not [name for name, _ in plain.named_parameters() if 'attention' in name]
    assert plain.gate is None
