"""Which cells show the same thing, and the one thing that is looked at most."""

from __future__ import annotations

import math

import torch

from vseg_ros.virst.things import VOTERS, Sameness, ThingEmbedding, single_thing


def random_sameness(clips: int, cells: int, seed: int = 0) -> Sameness:
    generator = torch.Generator().manual_seed(seed)
    return Sameness(torch.randn(clips, cells, 5, generator=generator),
                    torch.randn(clips, cells, 5, generator=generator), torch.tensor(-0.5))


def test_cells_are_compared_with_all_of_their_clip() -> None:
    same = random_sameness(2, 7)
    cells = torch.tensor([[3, 0], [6, 6]])
    found = same.compare(cells)
    for clip in range(2):
        for row, cell in enumerate(cells[clip].tolist()):
            for other in range(7):
                product = sum(float(a * b) for a, b in zip(
                    same.asking[clip, cell], same.answering[clip, other], strict=True))
                assert math.isclose(float(found[clip, row, other]), product / 5 ** 0.5 - 0.5,
                                    rel_tol=1e-4, abs_tol=1e-5)
    torch.testing.assert_close(same.of(1).compare(cells[1:]), found[1:])


def literal_thing(heat: torch.Tensor, same: Sameness) -> torch.Tensor:
    """`single_thing` of one question, a cell at a time."""
    flat = heat.flatten().tolist()
    alike = same.compare(torch.arange(len(flat))[None])[0].sigmoid().tolist()
    voters = sorted(range(len(flat)), key=lambda cell: -flat[cell])[:VOTERS]
    thing = [sum(alike[voters[0]][voter] * alike[voter][cell] for voter in voters)
             for cell in range(len(flat))]
    return torch.tensor([part / max(thing) / (1 + math.exp(-value))
                         for part, value in zip(thing, flat, strict=True)]).view(heat.shape)


def test_against_plain_loops() -> None:
    """Two questions a clip; one window has fewer cells than there may be voters."""
    generator = torch.Generator().manual_seed(3)
    for side in (4, 7):
        heat = 3 * torch.randn(4, 2, side, side, generator=generator) - 2
        same = random_sameness(2, 2 * side * side, side)
        found = single_thing(heat, same)
        for question in range(4):
            torch.testing.assert_close(found[question], literal_thing(
                heat[question], same.of(question // 2)), atol=1e-5, rtol=1e-4)


def two_things() -> tuple[torch.Tensor, Sameness]:
    """Two things of four cells in each of two frames, that surely know their cells apart."""
    which = torch.zeros(2, 6, 6, dtype=torch.int64)
    which[:, :2, :2], which[:, 4:, 3:5] = 1, 2
    embedding = torch.eye(3)[which.flatten()][None]
    embedding[..., 0] = 0
    return which, Sameness(60 * embedding, embedding, torch.tensor(-12.0))


def test_of_two_things_that_are_looked_at_one_is_left() -> None:
    which, same = two_things()
    heat = torch.full((1, 2, 6, 6), -9.0)
    heat[0, :, :2, :2] = 2.0
    heat[0, :, 4:, 3:5] = 1.5
    heat[0, 1, 0, 0] = 2.5
    found = single_thing(heat, same)[0]
    torch.testing.assert_close(found, heat[0].sigmoid() * (which == 1), atol=1e-3, rtol=0)


def test_what_is_hardly_looked_at_is_faint() -> None:
    which, same = two_things()
    heat = torch.where(which[None] == 1, -3.0, -9.0)
    assert float(single_thing(heat, same).max()) < 0.05


def test_gradients_lead_to_both() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(1, 32, 6)
    embedding = ThingEmbedding(6, 4)
    heat = torch.randn(2, 2, 4, 4, requires_grad=True)
    single_thing(heat, embedding(tokens)).sum().backward()
    assert heat.grad is not None
    assert heat.grad.any()
    assert all(each.grad is not None and each.grad.any() for each in embedding.parameters())
