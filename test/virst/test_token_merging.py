"""Merging of similar tokens against a literal version, token by token."""

from __future__ import annotations

import pytest
import torch

from vseg_ros.virst.token_merging import counts, merge_tokens


def merged_literally(tokens: torch.Tensor, target: int, heads: int) -> torch.Tensor:
    """Sec. 3 of Token Merging for one sample [N, C], with lists."""
    values = [token.double() for token in tokens]
    sizes = [1.0] * len(values)
    while len(values) > target:
        removed = min(len(values) - target, len(values) // 2)
        metric = []
        for value in values:
            mean = torch.stack(value.chunk(heads)).mean(0)
            metric.append(mean / mean.norm())
        pairs = []
        for first in range(0, len(values), 2):
            similar = [(float(metric[first] @ metric[second]), second)
                       for second in range(1, len(values), 2)]
            pairs.append((*max(similar), first))
        pairs.sort(reverse=True)
        sums = {place: values[place] * sizes[place] for place in range(len(values))}
        for _, second, first in pairs[:removed]:
            sums[second] = sums[second] + sums.pop(first)
            sizes[second] += sizes[first]
        order = [first for _, _, first in pairs[removed:]] + list(range(1, len(values), 2))
        values = [sums[place] / sizes[place] for place in order]
        sizes = [sizes[place] for place in order]
    return torch.stack(values).float()


@pytest.mark.parametrize(('number', 'target', 'heads'), [
    (8, 7, 1), (8, 4, 2), (9, 3, 2), (24, 5, 4), (5, 5, 1), (6, 1, 1)])
def test_against_the_literal_version(number: int, target: int, heads: int) -> None:
    tokens = torch.randn(3, number, 8, generator=torch.Generator().manual_seed(number))
    merged = merge_tokens(tokens, target, heads)
    for sample, expected in zip(merged, tokens, strict=True):
        torch.testing.assert_close(sample, merged_literally(expected, target, heads))


def test_a_round_removes_at_most_half() -> None:
    assert counts(3136, 64) == [3136, 1568, 784, 392, 196, 98, 64]
    assert counts(7, 3) == [7, 4, 3]


def test_the_mean_over_all_original_tokens_is_kept() -> None:
    tokens = torch.randn(1, 32, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(merge_tokens(tokens, 1, 1)[0, 0], tokens[0].mean(0))


@pytest.mark.parametrize('target', [0, 5])
def test_impossible_targets(target: int) -> None:
    with pytest.raises(ValueError, match=f'cannot keep {target} of 4'):
        merge_tokens(torch.ones(1, 4, 2), target, 1)


def test_gradients_reach_every_token() -> None:
    tokens = torch.randn(1, 16, 4, generator=torch.Generator().manual_seed(2), requires_grad=True)
    merge_tokens(tokens, 4, 1).sum().backward()
    assert tokens.grad is not None
    assert bool((tokens.grad != 0).all())
