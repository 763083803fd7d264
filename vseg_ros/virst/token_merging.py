"""
Merging of similar tokens, as VideoChat-Flash shortens its video tokens with it.

Bolya et al., *Token Merging: Your ViT But Faster*, Sec. 3: the tokens are dealt out alternately to
two sets; every token of the first set finds the most similar one of the second; the r most similar
pairs become their mean, weighted by how many tokens each side already stands for. A round removes
at most half of the tokens, so a strong reduction takes several rounds.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor


def merge_tokens(tokens: Tensor, target: int, heads: int) -> Tensor:
    """
    Merge similar tokens until `target` are left.

    Args:
        tokens: float [B, N, C].
        target: number of tokens to keep, 1..N.
        heads: similarity is measured on the mean over this many equal parts of a token.

    Returns:
        float [B, target, C]; the order carries no meaning.

    """
    sizes = tokens.new_ones(*tokens.shape[:2], 1)
    for before, after in pairwise(counts(tokens.shape[1], target)):
        tokens, sizes = _merge_once(tokens, sizes, before - after, heads)
    return tokens


def counts(tokens: int, target: int) -> list[int]:
    """
    Return the numbers of tokens before the first round and after each.

    Raises:
        ValueError: there are fewer tokens than are to be left, or none is to be left.

    """
    if not 0 < target <= tokens:
        raise ValueError(f'cannot keep {target} of {tokens} tokens')
    numbers = [tokens]
    while numbers[-1] > target:
        numbers.append(max(target, numbers[-1] - numbers[-1] // 2))
    return numbers


def _merge_once(tokens: Tensor, sizes: Tensor, removed: int, heads: int) -> tuple[Tensor, Tensor]:
    """Merge the `removed` most similar pairs; returns the tokens and how many each stands for."""
    kept, sources, targets = _most_similar_pairs(tokens.detach(), removed, heads)

    def merged(values: Tensor) -> Tensor:
        first, second = values[:, ::2], values[:, 1::2]
        width = (-1, -1, values.shape[2])
        moved = first.gather(1, sources.expand(width))
        second = second.scatter_add(1, targets.expand(width), moved)
        return torch.cat((first.gather(1, kept.expand(width)), second), dim=1)

    total = merged(sizes)
    return merged(tokens * sizes) / total, total


def _most_similar_pairs(tokens: Tensor, removed: int, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """
    Pair the two sets off.

    Returns:
        int64 [B, n, 1] each: places in the first set that are kept, places in the first set that
        are merged, and the places in the second set that they are merged into.

    """
    batch, number, width = tokens.shape
    metric = tokens.reshape(batch, number, heads, width // heads).mean(2)
    metric = metric / metric.norm(dim=-1, keepdim=True)
    similarity, partner = (metric[:, ::2] @ metric[:, 1::2].transpose(1, 2)).max(dim=-1)
    order = similarity.argsort(dim=-1, descending=True)[..., None]
    sources = order[:, :removed]
    return order[:, removed:], sources, partner[..., None].gather(1, sources)
