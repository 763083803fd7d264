"""Deformable attention to a clip against loops that project every cell and write sampling out."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.time2general.deformable_attention import (
    ClipDeformableAttention,
    ClipMemory,
    corner_cells,
    sample,
)

SIZES = ((3, 5), (2, 2), (1, 4))
CELLS = sum(height * width for height, width in SIZES)
BATCH, QUERIES, WIDTH, HEADS, FRAMES, POINTS = 2, 3, 8, 2, 4, 3


@pytest.fixture
def attention(make_spread: Callable[..., nn.Module]) -> ClipDeformableAttention:
    """With places far inside and outside of the maps, and uneven weights."""
    module = ClipDeformableAttention(WIDTH, HEADS, FRAMES, len(SIZES), POINTS).double()
    make_spread(module, 0.6)
    return module


def inputs(frames: int) -> tuple[Tensor, ClipMemory, Tensor]:
    queries = torch.randn(BATCH, QUERIES, WIDTH, dtype=torch.float64)
    cells = torch.randn(BATCH, frames, CELLS, WIDTH, dtype=torch.float64)
    embeddings = torch.randn(frames, len(SIZES), WIDTH, dtype=torch.float64)
    return queries, ClipMemory(cells, SIZES), embeddings


def bilinear(plane: Tensor, x: float, y: float) -> Tensor:
    """Read [H, W, C] at x, y in 0..1, pixel centres at half numbers; outside, the border."""
    height, width = plane.shape[:2]
    column, row = x * width - 0.5, y * height - 0.5
    left, top = math.floor(column), math.floor(row)
    total = torch.zeros(plane.shape[2], dtype=plane.dtype)
    for i, share_y in ((top, 1 - (row - top)), (top + 1, row - top)):
        for j, share_x in ((left, 1 - (column - left)), (left + 1, column - left)):
            cell = plane[min(max(i, 0), height - 1), min(max(j, 0), width - 1)]
            total = total + share_y * share_x * cell
    return total


def split_scales(cells: Tensor) -> list[Tensor]:
    """Cut cells [N, C] into maps [H, W, C]."""
    maps, start = [], 0
    for height, width in SIZES:
        maps.append(cells[start:start + height * width].reshape(height, width, -1))
        start += height * width
    return maps


def literal(module: ClipDeformableAttention, queries: Tensor, memory: ClipMemory,
            embeddings: Tensor) -> Tensor:
    """Add embeddings to all cells (Eq. 3), project all to values, then sample and sum."""
    batch, frames = memory.cells.shape[:2]
    share = WIDTH // HEADS
    result = []
    for b in range(batch):
        maps = []
        for t in range(frames):
            maps.append([(each + embeddings[t, scale]) @ module.value.weight.T + module.value.bias
                         for scale, each in enumerate(split_scales(memory.cells[b, t]))])
        for query in queries[b]:
            reference = torch.sigmoid(module.reference.weight @ query + module.reference.bias)
            offsets = (module.offsets.weight @ query + module.offsets.bias).reshape(
                HEADS, FRAMES, len(SIZES), POINTS, 2)
            logits = (module.weights.weight @ query + module.weights.bias).reshape(
                HEADS, FRAMES, len(SIZES), POINTS)
            heads = []
            for head in range(HEADS):
                total = torch.zeros(share, dtype=queries.dtype)
                mass = logits[head, :frames].exp().sum()
                for t in range(frames):
                    for scale, (height, width) in enumerate(SIZES):
                        for point in range(POINTS):
                            x = reference[0] + offsets[head, t, scale, point, 0] / width
                            y = reference[1] + offsets[head, t, scale, point, 1] / height
                            read = bilinear(maps[t][scale][..., head * share:(head + 1) * share],
                                            float(x), float(y))
                            total = total + logits[head, t, scale, point].exp() / mass * read
                heads.append(total)
            result.append(module.output.weight @ torch.cat(heads) + module.output.bias)
    return torch.stack(result).reshape(batch, QUERIES, WIDTH)


@pytest.mark.parametrize('frames', [1, 3, FRAMES])
def test_against_every_cell_projected(attention: ClipDeformableAttention, frames: int) -> None:
    queries, memory, embeddings = inputs(frames)
    with torch.no_grad():
        found = attention(queries, memory, embeddings)
        torch.testing.assert_close(found, literal(attention, queries, memory, embeddings))


def by_grid_sample(memory: ClipMemory, places: Tensor, weights: Tensor) -> Tensor:
    """Sum what torch's own sampling finds, a map at a time: [B, Q, heads, d]."""
    total = torch.zeros(*places.shape[:3], memory.cells.shape[-1], dtype=places.dtype)
    start = 0
    for scale, (height, width) in enumerate(memory.sizes):
        cells = memory.cells[:, :, start:start + height * width]
        start += height * width
        for t in range(memory.cells.shape[1]):
            planes = cells[:, t].transpose(1, 2).unflatten(2, (height, width))
            grid = places[:, :, :, t, scale].flatten(1, 2) * 2 - 1
            read = F.grid_sample(planes, grid, 'bilinear', 'border', align_corners=False)
            read = read.permute(0, 2, 3, 1).unflatten(1, places.shape[1:3])
            total = total + (read * weights[:, :, :, t, scale, :, None]).sum(3)
    return total


def test_sampling_against_grid_sample_with_its_gradients() -> None:
    leaves = [torch.randn(BATCH, FRAMES, CELLS, WIDTH, dtype=torch.float64),
              torch.rand(BATCH, QUERIES, HEADS, FRAMES, len(SIZES), POINTS, 2,
                         dtype=torch.float64) * 2 - 0.5,
              torch.randn(BATCH, QUERIES, HEADS, FRAMES, len(SIZES), POINTS, dtype=torch.float64)]
    goal = torch.randn(BATCH, QUERIES, HEADS, WIDTH, dtype=torch.float64)
    gradients = []
    for function in (sample, by_grid_sample):
        cells, places, weights = (each.clone().requires_grad_() for each in leaves)
        found = function(ClipMemory(cells, SIZES), places, weights)
        (found * goal).sum().backward()
        gradients.append((found.detach(), cells.grad, places.grad, weights.grad))
    for ours, torchs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize(('place', 'cell'), [((-3.0, -3.0), 0), ((4.0, -1.0), 4),
                                             ((-1.0, 2.0), 10), ((9.0, 9.0), 14)])
def test_outside_is_the_border(place: tuple[float, float], cell: int) -> None:
    memory = ClipMemory(torch.randn(1, 1, 15, WIDTH), SIZES[:1])
    places = torch.tensor(place).view(1, 1, 1, 1, 1, 1, 2)
    found = sample(memory, places, torch.ones(1, 1, 1, 1, 1, 1))
    torch.testing.assert_close(found[0, 0, 0], memory.cells[0, 0, cell])


def test_shares_add_up_and_cells_lie_in_their_own_map() -> None:
    memory = ClipMemory(torch.randn(BATCH, FRAMES, CELLS, 1), SIZES)
    places = torch.rand(BATCH, 5, HEADS, FRAMES, len(SIZES), POINTS, 2) * 3 - 1
    cells, shares = corner_cells(memory, places)
    torch.testing.assert_close(shares.sum(-1), torch.ones(shares.shape[:-1]))
    assert shares.min() >= 0
    starts = [0, 15, 19, 23]
    for b in range(BATCH):
        for t in range(FRAMES):
            for scale in range(len(SIZES)):
                own = cells[b, :, :, t, scale] - (b * FRAMES + t) * CELLS
                assert own.min() >= starts[scale]
                assert own.max() < starts[scale + 1]


def test_gradients_of_everything(attention: ClipDeformableAttention) -> None:
    names = [name for name, _ in attention.named_parameters()]
    leaves = inputs(3)
    gradients = []
    for function in (attention, lambda *arguments: literal_differentiable(attention, *arguments)):
        queries, cells, embeddings = (each.clone().requires_grad_() for each in
                                      (leaves[0], leaves[1].cells, leaves[2]))
        attention.zero_grad()
        function(queries, ClipMemory(cells, SIZES), embeddings).square().sum().backward()
        gradients.append({'queries': queries.grad, 'cells': cells.grad,
                          'embeddings': embeddings.grad,
                          **{name: value.grad.clone()
                             for name, value in attention.named_parameters()}})
    for name in ('queries', 'cells', 'embeddings', *names):
        torch.testing.assert_close(gradients[0][name], gradients[1][name], msg=name)
        assert gradients[0][name].abs().max() > 1e-6, name


def literal_differentiable(module: ClipDeformableAttention, queries: Tensor, memory: ClipMemory,
                           embeddings: Tensor) -> Tensor:
    """Project and embed all cells, read each head's values by grid_sample."""
    frames = memory.cells.shape[1]
    embedded = torch.cat([memory.cells[:, :, a:b] + embeddings[:, scale, None]
                          for scale, (a, b) in enumerate(((0, 15), (15, 19), (19, 23)))], 2)
    values = module.value(embedded)
    weights = module.weights(queries).reshape(BATCH, QUERIES, HEADS, FRAMES, -1)[:, :, :, :frames]
    weights = weights.flatten(3).softmax(-1).reshape(
        BATCH, QUERIES, HEADS, frames, len(SIZES), POINTS)
    offsets = module.offsets(queries).reshape(
        BATCH, QUERIES, HEADS, FRAMES, len(SIZES), POINTS, 2)[:, :, :, :frames]
    spans = torch.tensor([(width, height) for height, width in SIZES]).double()
    reference = module.reference(queries).sigmoid()[:, :, None, None, None, None]
    places = reference + offsets / spans[:, None]
    heads = []
    for head in range(HEADS):
        part = values[..., head * (WIDTH // HEADS):(head + 1) * (WIDTH // HEADS)]
        heads.append(by_grid_sample(ClipMemory(part, SIZES), places[:, :, head:head + 1],
                                    weights[:, :, head:head + 1])[:, :, 0])
    return module.output(torch.cat(heads, -1))


def test_begins_with_equal_weights_in_all_directions() -> None:
    module = ClipDeformableAttention(16, 4, 2, 1, 2)
    weights, offsets = (layer(torch.randn(1, 1, 16)) for layer in (module.weights, module.offsets))
    assert torch.equal(weights, torch.zeros_like(weights))
    expected = torch.tensor([[1., 0], [0, 1], [-1, 0], [0, -1]])
    for frame in range(2):
        for point in range(2):
            torch.testing.assert_close(offsets.view(4, 2, 1, 2, 2)[:, frame, 0, point],
                                       (point + 1) * expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_bfloat16_autocast_still_finds_the_place_in_a_large_map(dtype: torch.dtype) -> None:
    height, width = 48, 90
    module = ClipDeformableAttention(4, 1, 1, 1, 1)
    with torch.no_grad():
        module.offsets.bias.zero_()
        for layer in (module.value, module.output):
            layer.weight.copy_(torch.eye(4))
            layer.bias.zero_()
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    ramps = torch.stack([rows / height, columns / width, rows * 0, rows * 0], -1).float()
    memory = ClipMemory(ramps.view(1, 1, -1, 4).to(dtype).requires_grad_(), ((height, width),))
    queries = torch.randn(1, 200, 4)
    with torch.autocast('cpu', torch.bfloat16):
        found = module(queries, memory, torch.zeros(1, 1, 4))
    place = torch.sigmoid(module.reference(queries))
    expected = torch.stack([place[..., 1] - 0.5 / height, place[..., 0] - 0.5 / width], -1)
    # bfloat16 has 8 bits: 0.004 of the value itself, less than half a cell here
    torch.testing.assert_close(found[..., :2].float(), expected, atol=0.006, rtol=0.006)
    found.float().sum().backward()
    assert memory.cells.grad is not None
    assert all(value.grad.isfinite().all() for value in module.parameters())
