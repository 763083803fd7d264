"""The first fusion against its equation, head by head."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.virst.initial_fusion import InitialFusion

CHANNELS, WIDTH, HEADS = 3, 8, 2
BATCH, PROMPTS, FRAMES = 2, 3, 4


def make() -> InitialFusion:
    torch.manual_seed(0)
    module = InitialFusion(CHANNELS, WIDTH, grid_width=6, grid=2, steps=2, heads=HEADS).double()
    with torch.no_grad():
        for name, value in module.named_parameters():
            if name != 'gate':
                value.add_(0.3 * torch.randn_like(value))
    return module


def make_inputs() -> tuple[Tensor, Tensor]:
    return (torch.randn(BATCH, PROMPTS, WIDTH, dtype=torch.float64),
            torch.randn(BATCH, FRAMES, CHANNELS, 8, 7, dtype=torch.float64))


def literal_attention(query: Tensor, cells: Tensor, attention: nn.MultiheadAttention) -> Tensor:
    """CrossAttn of one query [D] to cells [S, D]."""
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    size = WIDTH // HEADS
    found = []
    for head in range(HEADS):
        rows = slice(head * size, (head + 1) * size)
        asked = weights[0][rows] @ query + biases[0][rows]
        scores = [math.exp(float(asked @ (weights[1][rows] @ cell + biases[1][rows]))
                           / math.sqrt(size)) for cell in cells]
        found.append(sum(score / sum(scores) * (weights[2][rows] @ cell + biases[2][rows])
                         for score, cell in zip(scores, cells, strict=True)))
    return attention.out_proj(torch.cat(found))


@torch.no_grad()
def test_is_gated_attention_to_the_cells_of_all_frames() -> None:
    module = make()
    prompts, features = make_inputs()
    fused = module(prompts, features)
    for b in range(BATCH):
        cells = module.memory_norm(module.projection(module.grid(features)[b].flatten(0, 1)))
        assert cells.shape == (FRAMES * 4, WIDTH)
        for n in range(PROMPTS):
            query = F.layer_norm(prompts[b, n], (WIDTH,), module.prompt_norm.weight,
                                 module.prompt_norm.bias)
            found = literal_attention(query, cells, module.attention)
            torch.testing.assert_close(fused[b, n], prompts[b, n] + 0.1 * found)


def test_gate_starts_at_a_tenth_and_is_learnt() -> None:
    module = make()
    assert float(module.gate.detach()) == pytest.approx(0.1)
    module(*make_inputs()).square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0
               for value in module.parameters())


def test_a_closed_gate_leaves_the_prompts_as_they_are() -> None:
    module = make()
    prompts, features = make_inputs()
    assert not torch.allclose(module(prompts, features), prompts)
    nn.init.zeros_(module.gate)
    torch.testing.assert_close(module(prompts, features), prompts)


def test_tokens_of_frames_can_be_kept() -> None:
    module = make()
    prompts, features = make_inputs()
    kept = torch.cat([module.grid(features[:, t:t + 1]) for t in range(FRAMES)], 1)
    torch.testing.assert_close(module.fuse(prompts, kept), module(prompts, features))


def test_features_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match='give a grid of 4x4'):
        make()(torch.zeros(1, 1, WIDTH).double(), torch.zeros(1, 1, CHANNELS, 16, 16).double())
