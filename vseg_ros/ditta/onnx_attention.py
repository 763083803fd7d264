"""
The add-on's window attention (Eq. 1) in operators that every provider of ONNX has.

It is dense: a graph for a GPU has no shapes that depend on the data, so every place is answered.
The tiles are those of `window_tiles.py`. A tile's queries, and the keys and values of its halo,
are read from the maps by their places (one gather each), so that a tile is two small matrix
products and no [h w, h w] matrix exists. Places beyond the border are clamped onto the map and
hidden from the softmax. For a fixed size the places are constants of the graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vseg_ros.ditta.tile_places import TilePlaces, tile_places
from vseg_ros.ditta.window_tiles import Tiling, hiding_bias, window_weights


class DenseWindowAttention(nn.Module):
    """
    Attend from every place to the window around it.

    Args:
        radius: of the window.
        size: h and w, if they are fixed.
        dtype: number format of queries and keys.

    """

    def __init__(self, radius: int, size: tuple[int, int] | None = None,
                 dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.radius = radius
        self.fixed = size is not None
        like = torch.zeros(1, dtype=dtype)
        self.register_buffer('outside_window', Tiling(1, 1, radius).outside_window(like))
        self.outside_window: Tensor
        if size is not None:
            for name, value in tile_places(*size, radius)._asdict().items():
                self.register_buffer(name, value)

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                size: tuple[int, int]) -> Tensor:
        """
        Compute Eq. 1 everywhere.

        Args:
            query: float [h * w, D].
            key: of frame t - 1, same shape and dtype.
            value: logits of frame t - 1, float [h * w, C].
            size: h and w.

        Returns:
            [h * w, C] in the dtype of `value`.

        """
        places = (TilePlaces(*(self.get_buffer(name) for name in TilePlaces._fields))
                  if self.fixed else tile_places(*size, self.radius))
        around = places.halos.flatten()
        queries = query.index_select(0, places.queries.flatten())
        queries = queries.view(*places.queries.shape, query.shape[1])
        keys = key.index_select(0, around).view(*places.halos.shape, key.shape[1])
        values = value.index_select(0, around).view(*places.halos.shape, value.shape[1])
        weights = window_weights(queries, keys, self.outside_window,
                                 hiding_bias(places.visible, queries))
        attended = torch.bmm(weights.to(value.dtype), values)
        return attended.flatten(0, 1).index_select(0, places.answers)
