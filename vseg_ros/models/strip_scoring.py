"""
Labels and entropies of upsampled logits on a processor, a strip of rows at a time.

A strip is small enough that everything about it stays in a core's cache, and the upsampled logits
are never held as a whole. Threads share the rows of an image and work on strips of their own with
NumPy and OpenCV: shared out operation by operation, as torch does it, a strip is so little work
that waking the other threads takes longer.

Labels are those of the interpolated scores, compared only where neighbouring cells disagree.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, starmap

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.frame import BoolArray, Float32Array, LabelArray
from vseg_ros.models.enlarging import best_class, label_dtype, neighbours, source_rows

_STRIP_BYTES = 512 << 10
"""Of the scores of a strip; a core's cache has to hold them three times."""

_MOST_THREADS = 4
"""More would wait for each other at Python's lock: a strip is a millisecond of work."""


def score_strips(logits: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """
    Upsample logits bilinearly and find label and entropy of every pixel.

    Args:
        logits: float [1, C, h, w], on the CPU.
        size: height and width wanted.

    Returns:
        the index of the largest score, uint8 or int16 [H, W]; entropy, float32 [H, W] in nats.

    """
    coarse = best_class(logits[0], label_dtype(logits.shape[1])).numpy()
    labels, mixed = neighbours(coarse, size)
    entropy = np.empty(size, np.float32)
    cells: Float32Array = logits[0].float().numpy()

    def score(rows: slice) -> None:
        for strip, scores in _strips(cells, size, rows):
            _relabel(labels[strip], mixed[strip], scores)
            entropy[strip] = _entropy(scores)

    threads = min(torch.get_num_threads(), _MOST_THREADS, size[0])
    ends = [size[0] * number // threads for number in range(threads + 1)]
    first, *others = starmap(slice, pairwise(ends))
    helping = [_helpers.pool.submit(score, rows) for rows in others]
    score(first)
    for each in helping:
        each.result()
    return torch.from_numpy(labels), torch.from_numpy(entropy)


class _Helpers(threading.local):
    """Helpers of the thread that scores; they end with it, so that none outlives its use."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(_MOST_THREADS - 1, 'scoring')


_helpers = _Helpers()


def _strips(logits: Float32Array, size: tuple[int, int], rows: slice,
            ) -> Iterator[tuple[slice, Float32Array]]:
    """Upsample [C, h, w], some rows of it, a strip [C, n, W] at a time; the next overwrites it."""
    classes, height, width = logits.shape
    above, down = source_rows(size[0], height)
    below = np.minimum(above + 1, height - 1)
    count = max(1, _STRIP_BYTES // (classes * size[1] * logits.itemsize))
    memory = np.empty((classes * count, size[1]), np.float32)
    for start in range(rows.start, rows.stop, count):
        strip = slice(start, min(start + count, rows.stop))
        between = logits.take(above[strip], 1)
        between += (logits.take(below[strip], 1) - between) * down[strip, None]
        stacked = between.reshape(-1, width)
        # OpenCV resizes rows several times as fast as torch
        wide = cv2.resize(stacked, (size[1], len(stacked)), memory[:len(stacked)],
                          interpolation=cv2.INTER_LINEAR)
        yield strip, np.asarray(wide, np.float32).reshape(classes, -1, size[1])


def _relabel(labels: LabelArray, mixed: BoolArray, scores: Float32Array) -> None:
    """Write the labels of mixed pixels, [n, W], by their scores, [C, n, W]."""
    pixels = mixed.ravel().nonzero()[0]
    labels.reshape(-1)[pixels] = scores.reshape(len(scores), -1).take(pixels, 1).argmax(0)


def _entropy(scores: Float32Array) -> NDArray[np.float32]:
    """Entropy [n, W] of the softmax of scores [C, n, W], which are lost."""
    scores -= scores.max(0)
    # several times as fast as NumPy's, to 1e-5 of the value
    weights = np.asarray(cv2.exp(scores.reshape(-1, scores.shape[2]))).reshape(scores.shape)
    scores *= weights
    total = weights.sum(0)
    entropy: NDArray[np.float32] = np.log(total) - scores.sum(0) / total
    return entropy
