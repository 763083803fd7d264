"""Memory attention equals transformers' module, and turns as its rotary embedding does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

from vseg_ros.models.nano_sam2 import new_nano_sam2
from vseg_ros.models.sam2_attention import MemoryAttention, turn

SIDE = 64
PLACES = (SIDE // 16) ** 2


@pytest.fixture(scope='module', params=['nano', 'hiera'])
def model(request: pytest.FixtureRequest, tiny_sam2: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    made: Any = (new_nano_sam2(side=SIDE, width=64) if request.param == 'nano'
                 else Sam2VideoModel(Sam2VideoConfig(**tiny_sam2)))
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize(('objects', 'memories', 'pointers'), [(1, 1, 0), (3, 4, 8)])
def test_equals_the_module_it_takes_its_weights_from(model: Any, objects: int, memories: int,
                                                     pointers: int) -> None:
    """Several layers of attention over the memories and pointers of several objects."""
    generator = torch.Generator().manual_seed(1)
    width, memory_width = model.config.memory_attention_hidden_size, model.mem_dim
    length = memories * PLACES + pointers

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    tokens, places = random(PLACES, objects, width), random(PLACES, 1, width)
    memory = random(objects, length, memory_width)
    memory_places = random(objects, length, memory_width)
    expected = model.memory_attention(
        current_vision_features=tokens, current_vision_position_embeddings=places,
        memory=memory.transpose(0, 1), memory_posision_embeddings=memory_places.transpose(0, 1),
        num_object_pointer_tokens=pointers)[0].transpose(0, 1)
    found = MemoryAttention(model.memory_attention)(tokens, places, memory, memory_places,
                                                    pointers)
    expected = expected.reshape(found.shape) if objects == 1 else expected.transpose(0, 1)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
    assert not torch.allclose(found, MemoryAttention(model.memory_attention)(
        tokens, places, memory.flip(1), memory_places, pointers), atol=1e-3)


def test_pairs_are_turned_by_the_angle_of_their_place() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, 2, 6, 4, generator=generator)
    angles = torch.randn(3, 2, generator=generator)
    found = turn(tokens, torch.polar(torch.ones(3, 2), angles))
    for head in range(2):
        for place in range(6):
            for pair in range(2):
                cosine, sine = angles[place % 3, pair].cos(), angles[place % 3, pair].sin()
                even, odd = tokens[0, head, place, 2 * pair:2 * pair + 2]
                expected = torch.stack((even * cosine - odd * sine, odd * cosine + even * sine))
                torch.testing.assert_close(found[0, head, place, 2 * pair:2 * pair + 2], expected)
    assert turn(tokens.bfloat16(), torch.polar(torch.ones(3, 2), angles)).dtype == torch.float32


def test_half_precision_is_near(model: Any) -> None:
    generator = torch.Generator().manual_seed(2)
    width, memory_width = model.config.memory_attention_hidden_size, model.mem_dim
    tokens, places = (torch.randn(PLACES, count, width, generator=generator) for count in (2, 1))
    memory, memory_places = (torch.randn(2, 3 * PLACES, memory_width, generator=generator)
                             for _ in range(2))
    exact, near = (MemoryAttention(model.memory_attention, dtype)(
        tokens, places, memory, memory_places, 0) for dtype in (None, torch.bfloat16))
    assert near.dtype == torch.float32
    assert not torch.equal(near, exact)
    torch.testing.assert_close(near, exact, atol=0.05, rtol=0.05)
