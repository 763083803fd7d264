"""What is told: the truth on the prompt's grid, disturbed, for a share of the samples."""

from __future__ import annotations

import torch

from vseg_ros.virst.told_prompts import tell_prompts

B, T, GRID = 200, 2, 4


def make_masks() -> torch.Tensor:
    """Return masks of one cell each, the same in both frames."""
    masks = torch.zeros(B, T, 8, 8, dtype=torch.bool)
    for sample in range(B):
        row, column = divmod(sample % GRID ** 2, GRID)
        masks[sample, :, 2 * row:2 * row + 2, 2 * column:2 * column + 2] = True
    return masks


def test_a_share_of_the_samples_is_told() -> None:
    found = torch.full((B, T, GRID, GRID), 0.9)
    given = tell_prompts(found, make_masks(), 0.3, torch.Generator().manual_seed(0))
    told = (given != found).flatten(1).any(1)
    assert 0.2 < told.float().mean() < 0.4
    assert torch.equal(given[~told], found[~told])
    assert torch.equal(tell_prompts(found, make_masks(), 0.0, torch.Generator()), found)


def test_what_is_told_lies_on_the_object_and_is_never_alike() -> None:
    found = torch.zeros(B, T, GRID, GRID)
    given = tell_prompts(found, make_masks(), 1.0, torch.Generator().manual_seed(0))
    assert given.min() >= 0
    assert given.max() <= 1
    # a blurred prompt holds a ninth of its strength in the object's own cell
    own = given.flatten(2).gather(2, (torch.arange(B) % GRID ** 2)[:, None, None].expand(
        B, T, 1))[..., 0]
    sharp = own > 0.4
    assert 0.3 < sharp.float().mean() < 0.7
    assert (own[~sharp] < 0.35).all()
    cells = (torch.arange(B) % GRID ** 2)[:, None].expand(B, T)
    assert torch.equal(given.flatten(2).argmax(2)[sharp], cells[sharp])
    assert own[sharp].std() > 0.1, 'some are fainter than others'


def test_nothing_is_learnt_through_what_was_told() -> None:
    found = torch.full((B, T, GRID, GRID), 0.5, requires_grad=True)
    given = tell_prompts(found, make_masks(), 0.5, torch.Generator().manual_seed(0))
    given.sum().backward()
    told = (given.detach() != 0.5).flatten(1).any(1)
    assert found.grad is not None
    assert not found.grad[told].any()
    assert (found.grad[~told] == 1).all()


def test_the_same_seed_tells_the_same() -> None:
    found = torch.zeros(B, T, GRID, GRID)
    first, second = (tell_prompts(found, make_masks(), 0.5, torch.Generator().manual_seed(3))
                     for _ in range(2))
    assert torch.equal(first, second)
