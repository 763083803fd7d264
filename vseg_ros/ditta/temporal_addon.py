"""
The temporal add-on: what frame t - 1 says about frame t (DiTTA, Sec. 3.1, Eq. 1).

    S_addon = softmax(Q K^T) V   over the window around the same place of frame t - 1

Q comes from the decoder's embedding of frame t, K from that of frame t - 1, V are the logits of
frame t - 1. `TemporalAddon` is what is adapted; `FrozenAddon` is the same function with fewer
products, for when the weights no longer change.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from vseg_ros.ditta.row_step import fill_up
from vseg_ros.ditta.sparse_attention import Attended, window_attention_where
from vseg_ros.ditta.window_attention import window_attention


class WindowedAddon(nn.Module):
    """
    Window attention between two frames with projections of any form.

    Args:
        query_layer: float [n, D] -> [n, E], applied to the embedding of frame t.
        key_layer: the same for the embedding of frame t - 1.
        radius: of the window, in cells of the embedding.

    """

    def __init__(self, query_layer: nn.Sequential, key_layer: nn.Sequential,
                 radius: int) -> None:
        super().__init__()
        self.query_layer = query_layer
        self.key_layer = key_layer
        self.radius = radius

    def forward(self, embedding: Tensor, previous_embedding: Tensor,
                previous_logits: Tensor) -> Tensor:
        """
        Compute Eq. 1 everywhere.

        Args:
            embedding: the decoder's embedding of frame t, float [B, D, h, w] or [D, h, w].
            previous_embedding: that of frame t - 1, same shape.
            previous_logits: logits of frame t - 1, float [B, C, h, w] or [C, h, w].

        Returns:
            logits of the temporal branch, the shape of `previous_logits`.

        """
        query = self.query_layer(embedding.movedim(-3, -1)).movedim(-1, -3)
        key = self.key_layer(previous_embedding.movedim(-3, -1)).movedim(-1, -3)
        return window_attention(query, key, previous_logits, self.radius)


class TemporalAddon(WindowedAddon):
    """
    The add-on that adaptation trains.

    The weights start at random, as in the paper. Scores are then so small that attention is all
    but uniform: until it is trained the add-on blurs the logits of frame t - 1 over its window.

    Args:
        width: D, channels of the decoder's embedding.
        radius: of the window, in cells of the embedding (5 in the paper: 11 x 11).

    """

    def __init__(self, width: int, radius: int = 5) -> None:
        super().__init__(_projection(width), _projection(width), radius)

    def fold(self, dtype: torch.dtype = torch.float32) -> FrozenAddon:
        """Return a copy for inference in a number format, with the second linears merged."""
        return FrozenAddon(self, dtype)


def _projection(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


class FrozenAddon(WindowedAddon):
    """
    The same function as a `TemporalAddon`, with one product less, and only where it is wanted.

    With a and c the outputs of the two ReLUs, a score is (Wq a + bq) . (Wk c + bk). What does not
    depend on the key drops out of the softmax; what is left is
    (Wk^T Wq a + Wk^T bq) . c, so that keys need no second layer.

    Args:
        addon: weights to copy; it may change afterwards.
        dtype: number format of projections and scores; values keep their own.

    """

    def __init__(self, addon: TemporalAddon, dtype: torch.dtype = torch.float32) -> None:
        query, key = deepcopy(addon.query_layer), deepcopy(addon.key_layer)
        del key[2]
        query[1] = key[1] = nn.ReLU(inplace=True)
        super().__init__(query, key, addon.radius)
        weights = addon.state_dict()
        last_key = weights['key_layer.2.weight']
        query[2].load_state_dict({'weight': last_key.T @ weights['query_layer.2.weight'],
                                  'bias': weights['query_layer.2.bias'] @ last_key})
        self.dtype = dtype
        self.to(dtype).requires_grad_(False)

    def tokens(self, embedding: Tensor) -> Tensor:
        """
        Lay an embedding out for `forward_where`, which reads it twice: as frame t, and as t - 1.

        Args:
            embedding: float [D, h, w].

        Returns:
            [h * w, D] in the add-on's number format.

        """
        return embedding_rows(embedding, self.dtype)

    @torch.no_grad()
    def forward_everywhere(self, tokens: Tensor, previous_tokens: Tensor, previous_logits: Tensor,
                           ) -> Tensor:
        """
        Compute Eq. 1 everywhere from tokens.

        Args:
            tokens: of frame t, [h * w, D].
            previous_tokens: of frame t - 1, same shape.
            previous_logits: logits of frame t - 1, float [C, h, w].

        Returns:
            float [C, h, w]. Without gradients.

        """
        size = previous_logits.shape[1:]
        query, key = (layers(rows).T.unflatten(1, size) for layers, rows in (
            (self.query_layer, tokens), (self.key_layer, previous_tokens)))
        return window_attention(query, key, previous_logits, self.radius)

    @torch.no_grad()
    def forward_where(self, tokens: Tensor, previous_tokens: Tensor, previous_logits: Tensor,
                      wanted: Tensor) -> Attended:
        """
        Compute Eq. 1 only where it is wanted; the projections, too, run only where needed.

        Args:
            tokens: of frame t, [h * w, D].
            previous_tokens: of frame t - 1, same shape.
            previous_logits: logits of frame t - 1, float [C, h, w].
            wanted: bool [h, w].

        Returns:
            the wanted places, and float [m, C] for them. Without gradients.

        """
        return window_attention_where(
            wanted, partial(_project, self.query_layer, tokens),
            partial(_project, self.key_layer, previous_tokens), previous_logits, self.radius)


def embedding_rows(embedding: Tensor, dtype: torch.dtype) -> Tensor:
    """Lay [D, h, w] out as [h * w, D], contiguous."""
    # channels last in memory already where the segmenter runs so: then nothing is moved
    rows = embedding.permute(1, 2, 0).to(dtype).reshape(-1, embedding.shape[0])
    return rows.contiguous()


def _project(layers: nn.Sequential, tokens: Tensor, places: Tensor) -> Tensor:
    """Run layers on some rows, int64 [n], of the tokens: [n, E]."""
    projected: Tensor = layers(tokens.index_select(0, fill_up(places)))
    return projected[:len(places)]
