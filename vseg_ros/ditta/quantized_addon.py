"""
The frozen add-on (Eq. 1) with projections in 8-bit integers.

Queries and keys are what most of the add-on's time goes into. An embedding is rounded once, for
both; between the two layers of the queries what the first one says is rounded again. Scores,
softmax and values are those of the add-on that is not quantized.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from vseg_ros.ditta.quantized_linear import QuantizedLinear, QuantizedRows, quantize
from vseg_ros.ditta.row_step import fill_up
from vseg_ros.ditta.sparse_attention import Attended, window_attention_where
from vseg_ros.ditta.temporal_addon import FrozenAddon, embedding_rows


class QuantizedAddon:
    """
    A `FrozenAddon` for a processor that `multiplies_integers`.

    Args:
        addon: float32, on the CPU; copied.
        dtype: number format of the scores, float32 or bfloat16.

    """

    def __init__(self, addon: FrozenAddon, dtype: torch.dtype) -> None:
        first, _, second = addon.query_layer
        assert isinstance(first, torch.nn.Linear)
        assert isinstance(second, torch.nn.Linear)
        key = addon.key_layer[0]
        assert isinstance(key, torch.nn.Linear)
        self.radius = addon.radius
        self._query = QuantizedLinear(first), QuantizedLinear(second)
        self._key = QuantizedLinear(key)
        self._dtype = dtype

    def tokens(self, embedding: Tensor) -> QuantizedRows:
        """
        Lay an embedding out for `forward_where`, which reads it twice: as frame t, and as t - 1.

        Args:
            embedding: float [D, h, w].

        Returns:
            h * w rows.

        """
        return quantize(embedding_rows(embedding, torch.float32))

    @torch.no_grad()
    def forward_where(self, tokens: QuantizedRows, previous_tokens: QuantizedRows,
                      previous_logits: Tensor, wanted: Tensor) -> Attended:
        """
        Compute Eq. 1 only where it is wanted.

        Args:
            tokens: of frame t.
            previous_tokens: of frame t - 1.
            previous_logits: logits of frame t - 1, float [C, h, w].
            wanted: bool [h, w].

        Returns:
            the wanted places, and float [m, C] for them.

        """
        return window_attention_where(wanted, partial(self._queries, tokens),
                                      partial(self._keys, previous_tokens), previous_logits,
                                      self.radius)

    def _queries(self, tokens: QuantizedRows, places: Tensor) -> Tensor:
        hidden = self._query[0](tokens.pick(fill_up(places)), torch.float32, relu=True)
        return self._query[1](quantize(hidden), self._dtype)[:len(places)]

    def _keys(self, tokens: QuantizedRows, places: Tensor) -> Tensor:
        return self._key(tokens.pick(fill_up(places)), self._dtype, relu=True)[:len(places)]
