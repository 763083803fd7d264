"""The vision tower against a literal version."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from vseg_ros.virst.umt_vision_tower import Block, UmtVisionTower, VisionSize, position_table

SIZE = VisionSize(side=32, patch=8, width=16, blocks=2, heads=2)


def block_literally(block: Block, tokens: torch.Tensor) -> torch.Tensor:
    """One block for one sample [N, C], a head and a token at a time."""
    width = tokens.shape[1] // block.heads
    normed = F.layer_norm(tokens, tokens.shape[1:], block.norm1.weight, block.norm1.bias, 1e-6)
    query, key, value = (normed @ block.qkv.weight.T + block.qkv.bias).chunk(3, dim=1)
    attended = torch.zeros_like(tokens)
    for head in range(block.heads):
        part = slice(head * width, (head + 1) * width)
        for place in range(len(tokens)):
            scores = torch.stack([query[place, part] @ other for other in key[:, part]])
            weights = (scores / math.sqrt(width)).softmax(0)
            attended[place, part] = sum(
                weight * other for weight, other in zip(weights, value[:, part], strict=True))
    tokens = tokens + block.out(attended)
    normed = F.layer_norm(tokens, tokens.shape[1:], block.norm2.weight, block.norm2.bias, 1e-6)
    return tokens + block.mlp(normed)


def test_block() -> None:
    torch.manual_seed(0)
    block = Block(16, 2)
    torch.nn.init.normal_(block.norm1.weight)
    tokens = torch.randn(2, 6, 16)
    expected = torch.stack([block_literally(block, sample) for sample in tokens])
    torch.testing.assert_close(block(tokens), expected)


def test_patches_get_the_positions_of_their_frame() -> None:
    torch.manual_seed(0)
    tower = UmtVisionTower(VisionSize(side=32, patch=8, width=16, blocks=0, heads=2))
    pixels = torch.randn(1, 4, 3, 32, 32)
    tokens = tower(pixels)[0].reshape(4, 4, 4, 16)
    weight, bias = tower.patches.weight, tower.patches.bias
    for frame, row, column in ((0, 0, 0), (1, 3, 2), (3, 1, 3)):
        patch = pixels[0, frame, :, row * 8:row * 8 + 8, column * 8:column * 8 + 8]
        value = (weight * patch).sum((1, 2, 3)) + bias
        value = value + position_table(tower.size)[frame, row * 4 + column]
        torch.testing.assert_close(tokens[frame, row, column],
                                   F.layer_norm(value, (16,), eps=1e-12))


def test_positions_as_they_were_trained() -> None:
    table = position_table(VisionSize(side=224, width=8))
    assert table.shape == (4, 196, 8)
    for frame, place, channel in ((0, 0, 0), (0, 195, 1), (2, 7, 4), (3, 195, 7)):
        angle = (frame * 196 + place) / 10000 ** (2 * (channel // 2) / 8)
        expected = math.cos(angle) if channel % 2 else math.sin(angle)
        assert table[frame, place, channel].item() == pytest.approx(expected, abs=1e-5)


def test_larger_images_have_resized_positions() -> None:
    small = position_table(VisionSize(side=224, width=8)).reshape(4, 14, 14, 8)
    large = position_table(VisionSize(side=448, width=8)).reshape(4, 28, 28, 8)
    expected = F.interpolate(small.permute(0, 3, 1, 2), (28, 28), mode='bicubic')
    torch.testing.assert_close(large, expected.permute(0, 2, 3, 1))


def test_an_image_alone_stands_where_the_first_frame_does() -> None:
    torch.manual_seed(0)
    tower = UmtVisionTower(VisionSize(side=32, patch=8, width=16, blocks=0, heads=2))
    pixels = torch.randn(1, 4, 3, 32, 32)
    torch.testing.assert_close(tower(pixels[:, :1]), tower(pixels)[:, :16])


def test_frames_of_a_group_see_each_other_and_groups_do_not() -> None:
    torch.manual_seed(0)
    tower = UmtVisionTower(SIZE)
    pixels = torch.randn(2, 4, 3, 32, 32)
    changed = pixels.clone()
    changed[0, 3] += 1
    before, after = tower(pixels), tower(changed)
    assert (before[0, :16] - after[0, :16]).abs().max() > 1e-4
    torch.testing.assert_close(before[1], after[1])
