"""
Window attention from some places only, with queries and keys made on demand, on a processor.

Only tiles (see `window_tiles.py`) with a wanted place are computed, only wanted places get a query
and only what lies in their windows gets a key. Tiles are worked on in the order of how many places
are wanted of them, so that those which run together have about as many queries each. What is
counted and sorted is NumPy's: for arrays as small as these, torch takes several times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.ditta.tile_places import tile_places
from vseg_ros.ditta.window_tiles import Tiling, hiding_bias
from vseg_ros.frame import BoolArray

Tokens = Callable[[Tensor], Tensor]
_Numbers = NDArray[np.int64]

_QUERY_STEP = 4
"""Queries a tile are rounded up to a multiple: a product of a new shape has to be prepared."""


class Attended(NamedTuple):
    """
    What m places attended to.

    Attributes:
        places: int64 [m], y * w + x; tile by tile, so in no order of their own.
        values: float [m, C].

    """

    places: Tensor
    values: Tensor


def window_attention_where(wanted: Tensor, query: Tokens, key: Tokens, value: Tensor,
                           radius: int) -> Attended:
    """
    Attend as `window_attention` does, but only from wanted places.

    Args:
        wanted: bool [h, w], on the CPU, as everything here.
        query: called once with places (int64 [n], y * w + x), gives their queries, [n, D].
        key: the same for keys, in the number format of the queries.
        value: float [C, h, w], in any number format.
        radius: of the window, at least 0.

    Returns:
        the wanted places and what they see, in the dtype of `value`. Not differentiable.

    Raises:
        ValueError: `wanted` and `value` differ in size.

    """
    if value.dim() != 3 or wanted.shape != value.shape[1:]:
        raise ValueError(f'wanted {list(wanted.shape)} is not [h, w] of value '
                         f'{list(value.shape)}, [C, h, w]')
    tiling = Tiling(value.shape[1], value.shape[2], radius)
    marks = wanted.numpy()
    asked = _asked_places(marks, tiling)
    places = torch.from_numpy(asked.places)
    if not len(places):
        return Attended(places, value.new_empty(0, len(value)))
    reached = _within_reach(marks, radius).ravel()
    queries, keys = query(places), key(torch.from_numpy(reached.nonzero()[0]))
    # A key that no wanted place reaches has no row; its number is read, but always hidden.
    rows = np.maximum(reached.cumsum() - 1, 0)
    values = value.flatten(1).T.contiguous()
    lookup = _lookup(tiling, queries.dtype)
    return Attended(places, torch.cat([
        _attend(group, queries, keys, values, rows, lookup)
        for group in _groups(asked, tiling.together(keys, keys.shape[1] + len(value)))]))


class _AskedPlaces(NamedTuple):
    """
    The m wanted places, tile by tile, tiles with most of them first.

    Attributes:
        places: int64 [m], y * w + x.
        tiles: int64 [n], numbers of the tiles with a wanted place.
        counts: int64 [n], how many each has; descending.
        tile: int64 [m], which of the n tiles each place is in.
        inside: int64 [m], where in its tile each place lies.

    """

    places: _Numbers
    tiles: _Numbers
    counts: _Numbers
    tile: _Numbers
    inside: _Numbers


def _asked_places(wanted: BoolArray, tiling: Tiling) -> _AskedPlaces:
    """Sort wanted places, bool [h, w], by tile."""
    side = tiling.tile
    whole = np.zeros((tiling.rows * side, tiling.columns * side), np.bool_)
    whole[:tiling.height, :tiling.width] = wanted
    marks = (whole.reshape(tiling.rows, side, tiling.columns, side).swapaxes(1, 2)
             .reshape(-1, side ** 2))
    counts = marks.sum(1)
    tiles = np.argsort(-counts, kind='stable')[:np.count_nonzero(counts)]
    tile, inside = marks[tiles].nonzero()
    first = tiles // tiling.columns * side, tiles % tiling.columns * side
    places = ((first[0][tile] + inside // side) * tiling.width
              + first[1][tile] + inside % side)
    return _AskedPlaces(places, tiles, counts[tiles], tile, inside)


def _within_reach(wanted: BoolArray, radius: int) -> BoolArray:
    """Bool [h, w]: places in the window of a wanted place."""
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return np.asarray(cv2.dilate(wanted.view(np.uint8), window)).view(np.bool_)


@dataclass(frozen=True)
class _Lookup:
    """
    What depends on the size of the maps alone.

    Attributes:
        halos: int64 [tiles, s * s], the places of each tile's halo, clamped to the map.
        hidden: bias [n * t * t, s * s] that hides keys beyond the window or the border, for the
            n ways in which a tile can lie to the border.
        border: int64 [tiles], where in `hidden` the rows of each tile begin.

    """

    halos: _Numbers
    hidden: Tensor
    border: _Numbers


@lru_cache(maxsize=4)
def _lookup(tiling: Tiling, dtype: torch.dtype) -> _Lookup:
    places = tile_places(tiling.height, tiling.width, tiling.radius)
    kinds, border = np.unique(places.visible.numpy(), axis=0, return_inverse=True)
    like = torch.zeros(1, dtype=dtype)
    hidden = hiding_bias(torch.from_numpy(kinds), like)[:, None] + tiling.outside_window(like)
    return _Lookup(places.halos.numpy(), hidden.flatten(0, 1), border.ravel() * tiling.tile ** 2)


class _Group(NamedTuple):
    """
    Tiles that are computed together, each with room for as many queries as the fullest needs.

    Attributes:
        tiles: int64 [g], numbers of the tiles.
        queries: the places that are theirs.
        tile: int64 [q], which of the g tiles each query is in.
        inside: int64 [q], where in its tile it lies.
        slots: int64 [q], its row among the g * room ones.
        room: queries a tile.

    """

    tiles: _Numbers
    queries: slice
    tile: _Numbers
    inside: _Numbers
    slots: _Numbers
    room: int


def _groups(asked: _AskedPlaces, together: int) -> Iterator[_Group]:
    """Share out the tiles."""
    ends = asked.counts.cumsum()
    starts = ends - asked.counts
    for first in range(0, len(ends), together):
        last = min(first + together, len(ends)) - 1
        room = -(-asked.counts[first] // _QUERY_STEP) * _QUERY_STEP
        queries = slice(starts[first], ends[last])
        tile = asked.tile[queries]
        slots = (tile - first) * room + np.arange(queries.start, queries.stop) - starts[tile]
        yield _Group(asked.tiles[first:last + 1], queries, tile - first, asked.inside[queries],
                     slots, room)


def _attend(group: _Group, queries: Tensor, keys: Tensor, values: Tensor, rows: _Numbers,
            lookup: _Lookup) -> Tensor:
    """Attend from the queries of a group, [q, C]; `rows` says which key is each place's."""
    count = len(group.tiles)
    # slots without a query compute something that is finite and that nobody reads
    query_rows, hidden_rows = (np.zeros(count * group.room, np.int64) for _ in range(2))
    query_rows[group.slots] = np.arange(group.queries.start, group.queries.stop)
    hidden_rows[group.slots] = lookup.border[group.tiles][group.tile] + group.inside
    halos = lookup.halos[group.tiles].ravel()
    scores, q, k, v = (
        maps.index_select(0, torch.from_numpy(picked)).view(count, -1, maps.shape[1])
        for maps, picked in ((lookup.hidden, hidden_rows), (queries, query_rows),
                             (keys, rows[halos]), (values, halos)))
    weights = scores.baddbmm_(q, k.transpose(1, 2)).softmax(-1)
    found = torch.bmm(weights.to(v.dtype), v)
    return found.flatten(0, 1).index_select(0, torch.from_numpy(group.slots))
