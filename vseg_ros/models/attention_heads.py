"""Heads of an attention."""

from __future__ import annotations

from torch import Tensor


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """Split float [B, N, D] into heads: [B, heads, N, D / heads]."""
    return tokens.view(*tokens.shape[:2], heads, -1).transpose(1, 2)
