"""
SAM 2's memory attention with the weights of transformers' module, in fewer passes.

Tokens of the frame attend to each other, then to the tokens of all memories; queries and keys are
turned by rotary embeddings of their row and column (Ravi et al., *SAM 2: Segment Anything in
Images and Videos*, Sec. 4). The keys are as long as the whole memory, and transformers turns them
by tables repeated to that length and a copy with neighbours exchanged. Here a pair of channels is
a complex number and is multiplied by a table that all memories share. What comes out is the same.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.models.attention_heads import split_heads


class MemoryAttention:
    """
    The memory attention of a SAM 2, without its dropout.

    Args:
        module: transformers' `Sam2VideoMemoryAttention`, whose weights are used.
        dtype: in which queries, keys and values are multiplied; None takes that of the weights.
            bfloat16 halves the time where a CPU multiplies it, and memories are kept in it anyway.

    """

    def __init__(self, module: nn.Module, dtype: torch.dtype | None = None) -> None:
        self._module: Any = module
        self._dtype = dtype
        self._turns: Tensor | None = None

    def __call__(self, tokens: Tensor, places: Tensor, memory: Tensor, memory_places: Tensor,
                 pointers: int) -> Tensor:
        """
        Let frames attend to what is remembered.

        Args:
            tokens: of the frames, [hw, B, C].
            places: encoding of their places, [hw, 1, C].
            memory: [B, M, D], all spatial memories, hw tokens each, then the tokens of pointers.
            memory_places: encoding of their places and ages, of the same shape.
            pointers: how many of the tokens are those of pointers; they are not turned.

        Returns:
            [B, hw, C].

        """
        turns = self._table(tokens.device)
        found = (tokens + 0.1 * places).transpose(0, 1)
        keys = memory + memory_places
        for layer in self._module.layers:
            asking = layer.layer_norm1(found)
            found = found + self._attend(layer.self_attn, asking, asking, asking, turns, 0)
            asking = layer.layer_norm2(found)
            found = found + self._attend(layer.cross_attn_image, asking, keys, memory, turns,
                                         pointers)
            asking = layer.layer_norm3(found)
            found = found + layer.linear2(layer.activation(layer.linear1(asking)))
        normalised: Tensor = self._module.layer_norm(found)
        return normalised

    def _table(self, device: torch.device) -> Tensor:
        """Return the turn of each pair of channels at each place, complex [hw, d / 2]."""
        if self._turns is None or self._turns.device != device:
            cosines, sines = self._module.rotary_emb(torch.empty(0, device=device),
                                                     self._module.position_ids)
            # transformers' tables hold each value twice, once for each channel of a pair
            self._turns = torch.complex(cosines[0, :, ::2].float(), sines[0, :, ::2].float())
        return self._turns

    def _attend(self, attention: Any, asking: Tensor, keys: Tensor, values: Tensor,
                turns: Tensor, pointers: int) -> Tensor:
        """Attend from [B, hw, C] to [B, M, D], of which the last `pointers` are not turned."""
        query, key, value = (
            split_heads(projection(tokens), attention.num_attention_heads)
            for projection, tokens in ((attention.q_proj, asking), (attention.k_proj, keys),
                                       (attention.v_proj, values)))
        dtype = self._dtype or value.dtype
        spatial = key.shape[2] - pointers
        key = torch.cat((turn(key[:, :, :spatial], turns).to(dtype),
                         key[:, :, spatial:].to(dtype)), 2)
        found = F.scaled_dot_product_attention(turn(query, turns).to(dtype), key, value.to(dtype))
        projected: Tensor = attention.o_proj(found.transpose(1, 2).flatten(2).to(asking.dtype))
        return projected


def turn(tokens: Tensor, turns: Tensor) -> Tensor:
    """
    Turn pairs of channels.

    Args:
        tokens: [B, heads, n hw, d], n frames in a row.
        turns: complex64 [hw, d / 2], by how much at each place of a frame.

    Returns:
        float32, as the original computes it, of the shape of the tokens.

    """
    pairs = torch.view_as_complex(tokens.float().reshape(*tokens.shape[:2], -1, *turns.shape, 2))
    return torch.view_as_real(pairs * turns).view(tokens.shape)
