"""The second fusion against its layers written out query by query."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from torch import Tensor, nn

from vseg_ros.virst.frame_prompts import (
    FramePrompter,
    FusionLayer,
    ProjectedPrompts,
    RotaryAttention,
)

CHANNELS, LANGUAGE, WIDTH, HEADS, GRID = 3, 5, 16, 2, 2
SIZE = WIDTH // HEADS
BATCH, PROMPTS, FRAMES = 2, 3, 4
SIDE = 8


def make(layers: int = 2, dropout: float = 0.1, positions: bool = False) -> FramePrompter:
    torch.manual_seed(0)
    module = FramePrompter(LANGUAGE, WIDTH, CHANNELS, GRID, steps=2, heads=HEADS, layers=layers,
                           dropout=dropout, positions=positions).double().eval()
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.3 * torch.randn_like(value))
    return module


def make_inputs() -> tuple[Tensor, Tensor]:
    return (torch.randn(BATCH, PROMPTS, LANGUAGE, dtype=torch.float64),
            torch.randn(BATCH, FRAMES, CHANNELS, SIDE, SIDE, dtype=torch.float64))


def literal_norm(row: Tensor, norm: nn.LayerNorm) -> Tensor:
    centred = row - row.mean()
    return centred / torch.sqrt((centred ** 2).mean() + norm.eps) * norm.weight + norm.bias


def turned(features: Tensor, positions: tuple[int, ...]) -> Tensor:
    """The rotary embedding of one head's features."""
    pairs, result = len(features) // 2 // 3, features.clone()
    for axis, position in enumerate(positions):
        for i in range(pairs):
            place = 2 * (axis * pairs + i)
            number = (complex(features[place], features[place + 1])
                      * cmath.exp(1j * position * 10000 ** (-i / pairs)))
            result[place], result[place + 1] = number.real, number.imag
    return result


def weighted(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    """Softmax attention of one query and head."""
    scores = [math.exp(float(query @ key) / math.sqrt(SIZE)) for key in keys]
    return sum((score / sum(scores) * value for score, value in zip(scores, values, strict=True)),
               torch.zeros(SIZE, dtype=torch.float64))


def literal_self_attention(rows: list[Tensor], attention: nn.MultiheadAttention) -> list[Tensor]:
    maps = [(lambda row, w=w, b=b: (w @ row + b).view(HEADS, SIZE)) for w, b in
            zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)]
    asked, keys, values = ([to(row) for row in rows] for to in maps)
    return [attention.out_proj(torch.cat([
        weighted(query[head], [key[head] for key in keys], [value[head] for value in values])
        for head in range(HEADS)])) for query in asked]


def literal_cross_attention(rows: list[Tensor], memory: Tensor,
                            attention: RotaryAttention) -> list[Tensor]:
    """Queries in order of prompts, then frames; memory [T, G * G, width]."""
    keys, values = [], []
    for t in range(FRAMES):
        for y in range(GRID):
            for x in range(GRID):
                cell = memory[t, y * GRID + x]
                key = attention.key(cell).view(HEADS, SIZE)
                keys.append([turned(key[head], (t, y, x)) for head in range(HEADS)])
                values.append(attention.value(cell).view(HEADS, SIZE))
    found = []
    for place, row in enumerate(rows):
        query = attention.query(row).view(HEADS, SIZE)
        found.append(attention.output(torch.cat([
            weighted(turned(query[head], (place % FRAMES,)), [key[head] for key in keys],
                     [value[head] for value in values]) for head in range(HEADS)])))
    return found


def literal_layer(rows: list[Tensor], memory: Tensor, layer: FusionLayer) -> list[Tensor]:
    seen = literal_self_attention(rows, layer.self_attention)
    rows = [literal_norm(row + new, layer.self_norm) for row, new in zip(rows, seen, strict=True)]
    seen = literal_cross_attention(rows, memory, layer.cross_attention)
    rows = [literal_norm(row + new, layer.cross_norm) for row, new in zip(rows, seen, strict=True)]
    first, second = layer.feed_forward[0], layer.feed_forward[2]
    result = []
    for row in rows:
        wide = first(row)
        assert len(wide) == 4 * WIDTH
        result.append(literal_norm(
            row + second(wide * 0.5 * (1 + torch.erf(wide / math.sqrt(2)))), layer.norm))
    return result


@torch.no_grad()
def test_is_two_layers_of_self_and_rotary_cross_attention() -> None:
    module = make()
    hidden, features = make_inputs()
    prompts = module(hidden, features)
    assert prompts.shape == (BATCH, PROMPTS, FRAMES, WIDTH)
    for b in range(BATCH):
        rows = [module.projection(hidden[b, n]) for n in range(PROMPTS) for _ in range(FRAMES)]
        memory = module.grid(features[b:b + 1])[0]
        for layer in module.layers:
            assert isinstance(layer, FusionLayer)
            rows = literal_layer(rows, memory, layer)
        torch.testing.assert_close(prompts[b].flatten(0, 1), torch.stack(rows))


@pytest.mark.parametrize('gradient', [True, False])
def test_tokens_that_are_not_real_change_nothing(gradient: bool) -> None:
    module = make()
    hidden, features = make_inputs()
    mask = torch.tensor([[True, False, True], [False, True, True]])
    with torch.set_grad_enabled(gradient):
        masked = module(hidden, features, mask)
        for b in range(BATCH):
            alone = module(hidden[b:b + 1, mask[b]], features[b:b + 1])[0]
            torch.testing.assert_close(masked[b, mask[b]], alone)
        assert not torch.allclose(masked, module(hidden, features))
        torch.testing.assert_close(module(hidden, features, torch.ones_like(mask)),
                                   module(hidden, features))


@pytest.mark.parametrize('gradient', [True, False])
def test_a_sample_without_tokens_stays_finite(gradient: bool) -> None:
    module = make()
    hidden, features = make_inputs()
    mask = torch.tensor([[True, True, False], [False, False, False]])
    with torch.set_grad_enabled(gradient):
        masked = module(hidden, features, mask)
        assert masked.isfinite().all()
        torch.testing.assert_close(masked[0], module(hidden[:1], features[:1], mask[:1])[0])


def test_every_parameter_is_trained_and_dropout_ends_with_training() -> None:
    module = make(dropout=0.5)
    inputs = make_inputs()
    torch.testing.assert_close(module(*inputs), module(*inputs))
    module.train()
    first = module(*inputs)
    assert not torch.allclose(first, module(*inputs))
    # the last normalisation makes plain sums constant
    (first * torch.randn_like(first)).sum().backward()
    for name, value in module.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().sum() > 0, name


def test_without_dropout_training_gives_the_same_prompts() -> None:
    module = make(dropout=0.0)
    inputs = make_inputs()
    torch.testing.assert_close(module.train()(*inputs), module.eval()(*inputs))


@torch.no_grad()
def test_tokens_of_frames_can_be_kept() -> None:
    module = make()
    hidden, features = make_inputs()
    kept = torch.cat([module.tokens(features[:, t:t + 1]) for t in range(FRAMES)], 1)
    torch.testing.assert_close(module.refine(hidden, kept), module(hidden, features))


@torch.no_grad()
def test_order_of_time_counts() -> None:
    module = make()
    hidden, features = make_inputs()
    backwards = module(hidden, features.flip(1)).flip(2)
    assert not torch.allclose(module(hidden, features), backwards)


@torch.no_grad()
def test_places_are_added_to_the_features() -> None:
    module = make(positions=True)
    hidden, features = make_inputs()
    places = torch.randn(CHANNELS, SIDE, SIDE, dtype=torch.float64)
    torch.testing.assert_close(module(hidden, features, places=places),
                               make()(hidden, features + places))


def test_places_go_with_positions() -> None:
    inputs = make_inputs()
    with pytest.raises(ValueError, match='places are missing'):
        make(positions=True)(*inputs)
    with pytest.raises(ValueError, match='places are not asked for'):
        make()(*inputs, places=inputs[1][0, 0])


def test_widths_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match='does not divide into 3 heads'):
        FramePrompter(LANGUAGE, 16, heads=3)
    with pytest.raises(ValueError, match='a head of 2 features'):
        FramePrompter(LANGUAGE, 16, heads=8)


def test_released_size() -> None:
    module = FramePrompter(24).eval()
    with torch.no_grad():
        prompts = module(torch.randn(1, 1, 24), torch.randn(1, 2, 256, 64, 64))
    assert prompts.shape == (1, 1, 2, 256)
    assert len(module.layers) == 2


def test_projected_prompts_are_the_same_in_every_frame() -> None:
    module = ProjectedPrompts(LANGUAGE, WIDTH).double()
    hidden, features = make_inputs()
    prompts = module(hidden, features, torch.ones(BATCH, PROMPTS, dtype=torch.bool), None)
    assert prompts.shape == (BATCH, PROMPTS, FRAMES, WIDTH)
    for t in range(FRAMES):
        for b in range(BATCH):
            for n in range(PROMPTS):
                torch.testing.assert_close(
                    prompts[b, n, t],
                    module.projection.weight @ hidden[b, n] + module.projection.bias)
