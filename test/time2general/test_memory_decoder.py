"""The memory decoder against Eq. 3 to 6 written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vseg_ros.time2general.deformable_attention import ClipMemory
from vseg_ros.time2general.memory_decoder import (
    MemoryDecoder,
    PixelFusion,
    QueryHead,
    class_scores,
)
from vseg_ros.time2general.set_losses import ClipPrediction
from vseg_ros.training_settings import Time2GeneralModelSettings

WIDTH, QUERIES = 8, 3


def settings(**changes: Any) -> Time2GeneralModelSettings:
    return Time2GeneralModelSettings.model_validate(
        {'queries': QUERIES, 'width': WIDTH, 'decoder_blocks': 3, 'heads': 2, 'points': 2,
         'feed_forward': 12, 'clip_length': 4, 'upsampling': 1, **changes})


def literal_norm(row: Tensor, norm: nn.LayerNorm) -> Tensor:
    centred = row - row.mean()
    return centred / torch.sqrt((centred ** 2).mean() + norm.eps) * norm.weight + norm.bias


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


@pytest.mark.parametrize('frames', [1, 2, 4])
def test_queries_are_updated_block_by_block(make_spread: Callable[..., nn.Module],
                                            frames: int) -> None:
    decoder = MemoryDecoder(settings(), 2, 4).double()
    make_spread(decoder)
    memory = ClipMemory(torch.randn(2, frames, 10, WIDTH, dtype=torch.float64), ((2, 3), (2, 2)))
    queries = torch.randn(QUERIES, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        states = decoder.update(queries, memory)
        embeddings = torch.stack([torch.stack([decoder.temporal[t] + decoder.scale[scale]
                                               for scale in range(2)]) for t in range(frames)])
        state = torch.stack([queries, queries])
        assert len(states) == 3
        for found, block in zip(states, decoder.blocks, strict=True):
            attended = block.attention(state, memory, embeddings)
            first, second = block.feed_forward[0], block.feed_forward[2]
            rows = []
            for old, seen in zip(state.flatten(0, 1), attended.flatten(0, 1), strict=True):
                row = literal_norm(old + seen, block.attention_norm)
                hidden = (first.weight @ row + first.bias).clamp_min(0)
                rows.append(literal_norm(row + second.weight @ hidden + second.bias, block.norm))
            state = torch.stack(rows).view(2, QUERIES, WIDTH)
            torch.testing.assert_close(found, state)
    for before, after in pairwise(states):
        assert (before - after).abs().max() > 1e-3


def test_embeddings_tell_frames_and_scales_apart(make_spread: Callable[..., nn.Module]) -> None:
    decoder = MemoryDecoder(settings(), 2, 4)
    make_spread(decoder, 1.0)
    cells = torch.randn(1, 3, 8, WIDTH)
    queries = torch.randn(QUERIES, WIDTH)

    def last(cells: Tensor) -> Tensor:
        return decoder.update(queries, ClipMemory(cells, ((2, 2), (2, 2))))[-1]
    backwards, swapped = cells.flip(1), torch.cat([cells[:, :, 4:], cells[:, :, :4]], 2)
    for changed in (backwards, swapped):
        assert (last(changed) - last(cells)).abs().max() > 1e-2
    with torch.no_grad():
        decoder.temporal.zero_()
        decoder.scale.zero_()
        for block in decoder.blocks:
            # frames and scales are then only where a head looks
            for layer in (block.attention.offsets, block.attention.weights):
                layer.weight.zero_()
                layer.bias.zero_()
    for changed in (backwards, swapped):
        torch.testing.assert_close(last(changed), last(cells))


def literal_resize(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, pixel centres at half numbers: [d, h, w]."""
    channels, height, width = plane.shape
    result = torch.zeros(channels, *size, dtype=plane.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((j + 0.5) * width / size[1] - 0.5, 0), width - 1)
            top, left = int(y), int(x)
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            for row, share_y in ((top, 1 - y + top), (below, y - top)):
                for column, share_x in ((left, 1 - x + left), (right, x - left)):
                    result[:, i, j] += share_y * share_x * plane[:, row, column]
    return result


def literal_fuse(module: PixelFusion, maps: list[Tensor]) -> Tensor:
    """Fuse the maps [d, h, w] of one frame."""
    finest = max(each.shape[1:] for each in maps)
    total = torch.zeros(WIDTH, *finest, dtype=maps[0].dtype)
    for plane, project in zip(maps, module.project, strict=True):
        levelled = torch.einsum('ed,dhw->ehw', project.weight, plane)
        if project.bias is not None:
            levelled = levelled + project.bias[:, None, None]
        total = total + literal_resize(levelled, (finest[0], finest[1]))
    for y in range(finest[0]):
        for x in range(finest[1]):
            total[:, y, x] = literal_norm(total[:, y, x], module.norm)
    total = gelu(total)
    for layer in module.upsample[::2]:
        larger = torch.zeros(WIDTH, 2 * total.shape[1], 2 * total.shape[2], dtype=total.dtype)
        for y in range(larger.shape[1]):
            for x in range(larger.shape[2]):
                larger[:, y, x] = (total[:, y // 2, x // 2] @ layer.weight[:, :, y % 2, x % 2]
                                   + layer.bias)
        total = gelu(larger)
    return total


@pytest.mark.parametrize('upsampling', [0, 1, 2, 3])
@pytest.mark.parametrize('sizes', [((3, 2), (3, 2)), ((4, 6), (2, 3), (1, 2)), ((1, 2), (2, 4))])
def test_fusion(make_spread: Callable[..., nn.Module], sizes: tuple[tuple[int, int], ...],
                upsampling: int) -> None:
    module = PixelFusion(WIDTH, len(sizes), upsampling).double()
    make_spread(module)
    maps = [torch.randn(2, WIDTH, *size, dtype=torch.float64) for size in sizes]
    with torch.no_grad():
        found = module([each.flatten(2).transpose(1, 2) for each in maps], sizes)
        finest = max(sizes)
        assert found.shape == (2, WIDTH, finest[0] * 2 ** upsampling, finest[1] * 2 ** upsampling)
        for frame in range(2):
            torch.testing.assert_close(
                found[frame], literal_fuse(module, [each[frame] for each in maps]))


def test_head_multiplies_queries_with_pixels(make_spread: Callable[..., nn.Module]) -> None:
    head = QueryHead(WIDTH, 4)
    make_spread(head)
    queries, pixels = torch.randn(2, QUERIES, WIDTH), torch.randn(2, 3, WIDTH, 2, 5)
    with torch.no_grad():
        prediction = head(queries, pixels)
        assert prediction.class_logits.shape == (2, QUERIES, 5)
        assert prediction.mask_logits.shape == (2, QUERIES, 3, 2, 5)
        for b in range(2):
            for q in range(QUERIES):
                row = queries[b, q]
                torch.testing.assert_close(
                    prediction.class_logits[b, q],
                    head.classify.weight @ row + head.classify.bias)
                for number in (0, 2, 4):
                    row = head.mask[number].weight @ row + head.mask[number].bias
                    row = row if number == 4 else row.clamp_min(0)
                for t in range(3):
                    for y in range(2):
                        for x in range(5):
                            assert float(prediction.mask_logits[b, q, t, y, x]) == pytest.approx(
                                float(row @ pixels[b, t, :, y, x]), abs=1e-4)


def test_scores_are_sums_over_queries() -> None:
    prediction = ClipPrediction(2 * torch.randn(2, QUERIES, 5),
                                3 * torch.randn(2, QUERIES, 2, 2, 3))
    found = class_scores(prediction)
    assert found.shape == (2, 2, 4, 2, 3)
    for b in range(2):
        for t in range(2):
            for k in range(4):
                for y in range(2):
                    for x in range(3):
                        total = 0.0
                        for q in range(QUERIES):
                            logits = prediction.class_logits[b, q].tolist()
                            share = math.exp(logits[k]) / sum(map(math.exp, logits))
                            mask = float(prediction.mask_logits[b, q, t, y, x])
                            total += share / (1 + math.exp(-mask))
                        assert float(found[b, t, k, y, x]) == pytest.approx(math.log(total),
                                                                           abs=1e-4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('extreme', [-3e4, 3e4])
def test_scores_stay_finite(dtype: torch.dtype, extreme: float) -> None:
    classes = torch.zeros(1, QUERIES, 5, dtype=dtype)
    classes[..., -1] = extreme  # all queries are sure: no object, or anything but
    masks = torch.randn(1, QUERIES, 2, 2, 2).to(dtype)
    masks[:, :, 0] = extreme
    classes.requires_grad_()
    masks.requires_grad_()
    scores = class_scores(ClipPrediction(classes, masks))
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    scores.square().sum().backward()
    assert classes.grad.isfinite().all()
    assert masks.grad.isfinite().all()
