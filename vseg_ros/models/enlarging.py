"""
Labels of a larger image from scores of a smaller one.

Labels are those of bilinearly interpolated *scores*, as one would want for smooth borders. Where
the four neighbours of a pixel have the same label, so has every mixture of them; so on a CPU
scores are mixed only at the other pixels, some per cent of an image. A GPU mixes everywhere, some
rows at a time: it need not look for the pixels first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.frame import BoolArray, Float32Array, LabelArray

_GPU_BYTES = 256 << 20
"""Of mixed scores at a time: a frame of 1280x720 with 15 classes takes 55 MB."""


def label_dtype(classes: int) -> torch.dtype:
    """Return the smallest integer type that holds the labels of so many classes."""
    return torch.uint8 if classes <= 255 else torch.int16


def best_class(scores: Tensor, dtype: torch.dtype) -> Tensor:
    """
    Index of the largest score; on a CPU several times as fast as argmax over the first dimension.

    Args:
        scores: float [C, ...].
        dtype: integer type of the result; it must hold C.

    Returns:
        [...]; of equal scores, the first index, as argmax does.

    """
    highest = scores.amax(0)
    rank = torch.arange(len(scores), 0, -1, dtype=dtype, device=scores.device)
    ranked = rank.view(-1, *(1 for _ in highest.shape))
    return len(scores) - ((scores == highest) * ranked).amax(0)


def source_rows(target: int, source: int) -> tuple[NDArray[np.int64], Float32Array]:
    """Index of the row before each target row, and the weight of the row after it."""
    position = (np.arange(target) + 0.5) * source / target - 0.5
    position = position.clip(0, source - 1)
    before = np.minimum(position.astype(np.int64), source - 1)
    return before, (position - before).astype(np.float32)


def neighbours(labels: NDArray[Any], size: tuple[int, int]) -> tuple[NDArray[Any], BoolArray]:
    """
    Look up the four neighbours of every pixel of an enlarged map.

    Args:
        labels: [h, w].
        size: height and width wanted.

    Returns:
        [H, W], the label above and to the left; bool [H, W], whether another one differs.

    """
    return _looked_up(labels, size), _looked_up(_cells_that_differ(labels), size)


def _looked_up(cells: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Enlarge [h, w] to [H, W]: every pixel is the cell above and to the left of it."""
    top, _ = source_rows(size[0], cells.shape[0])
    left, _ = source_rows(size[1], cells.shape[1])
    # columns first: whole rows are copied several times as fast as single cells
    return cells.take(left, 1).take(top, 0)


def _cells_that_differ(labels: NDArray[Any]) -> BoolArray:
    """Bool [h, w]: whether a cell, its right and lower neighbours have more than one label."""
    grown = np.pad(labels, ((0, 1), (0, 1)), 'edge')
    differs: BoolArray = labels != grown[1:, :-1]
    differs |= labels != grown[:-1, 1:]
    differs |= labels != grown[1:, 1:]
    return differs


def enlarge_labels(logits: Tensor, labels: LabelArray, size: tuple[int, int]) -> LabelArray:
    """
    Labels of bilinearly resized scores, computed only where neighbours disagree.

    Args:
        logits: float32 [1, C, h', w'], on the CPU. The scores are these, resized bilinearly to
            the size of `labels`; they are made only where they are asked for.
        labels: [h, w], the index of the largest score.
        size: height and width wanted.

    Returns:
        [H, W] like `labels`.

    """
    differs = _cells_that_differ(labels)
    enlarged = _looked_up(labels, size)
    rows, columns = np.divmod(np.flatnonzero(_looked_up(differs, size)), size[1])
    if not len(rows):
        return enlarged
    # every score that a mixture reads is made once
    cells = np.flatnonzero(_read_beside(differs))
    number = np.zeros(labels.size, np.int64)
    number[cells] = np.arange(len(cells))
    scores = _mixtures(logits[0].flatten(1).T.contiguous(), (logits.shape[2], logits.shape[3]),
                       labels.shape, *np.divmod(cells, labels.shape[1]))
    mixtures = _mixtures(scores, labels.shape, size, rows, columns, torch.from_numpy(number))
    best = best_class(mixtures.T, label_dtype(logits.shape[1]))
    enlarged[rows, columns] = best.numpy()
    return enlarged


def _read_beside(differs: BoolArray) -> BoolArray:
    """Bool [h, w]: the cells that differ, and their right and lower neighbours."""
    grown = np.pad(differs, ((1, 0), (1, 0)))
    asked: BoolArray = grown[1:, 1:] | grown[:-1, 1:] | grown[1:, :-1] | grown[:-1, :-1]
    return asked


def _mixtures(values: Tensor, source: tuple[int, ...], target: tuple[int, ...],
              rows: NDArray[np.int64], columns: NDArray[np.int64],
              number: Tensor | None = None) -> Tensor:
    """
    Interpolate bilinearly at some pixels.

    Args:
        values: float32 [m, C], one row a cell of the source.
        source: height and width of the source.
        target: height and width of the image whose pixels are meant.
        rows: of the pixels, int64 [n].
        columns: of the pixels, int64 [n].
        number: int64 [height * width], which row of `values` is each cell's; None: its number.

    Returns:
        float32 [n, C].

    """
    top, down = source_rows(target[0], source[0])
    left, right = source_rows(target[1], source[1])
    below, beside = (np.minimum(before + 1, count - 1)
                     for before, count in zip((top, left), source, strict=True))

    def read(y: NDArray[np.int64], x: NDArray[np.int64]) -> Tensor:
        cells = torch.from_numpy(y[rows] * source[1] + x[columns])
        return values.index_select(0, cells if number is None else number.index_select(0, cells))

    aside, under = (torch.from_numpy(weight[places])[:, None]
                    for weight, places in ((right, columns), (down, rows)))
    return torch.lerp(torch.lerp(read(top, left), read(top, beside), aside),
                      torch.lerp(read(below, left), read(below, beside), aside), under)


def enlarge_labels_everywhere(scores: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """
    Compute what `enlarge_labels` does with scores at every pixel, where the scores lie: on a GPU.

    Args:
        scores: float32 [C, h, w].
        size: height and width wanted.
        dtype: integer type of the result; it must hold C.

    Returns:
        [H, W], on the device of `scores`.

    """
    classes, height, _ = scores.shape
    above, down = (torch.from_numpy(each).to(scores.device)
                   for each in source_rows(size[0], height))
    below = (above + 1).clamp_max_(height - 1)
    count = max(1, _GPU_BYTES // (classes * size[1] * scores.element_size()))
    parts = []
    for start in range(0, size[0], count):
        part = slice(start, start + count)
        between = torch.lerp(scores.index_select(1, above[part]),
                             scores.index_select(1, below[part]), down[part, None])
        wide = F.interpolate(between[None], size=(between.shape[1], size[1]), mode='bilinear',
                             align_corners=False)[0]
        parts.append(best_class(wide, dtype))
    return torch.cat(parts)
