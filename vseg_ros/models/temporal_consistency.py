"""
Masked Temporal Consistency Loss (Time2General, Sec. 3.4, Eq. 7 to 11).

Frames of a clip that are 1, 2, 4, ... frames apart are compared pixel by pixel: where the label
stays the same the class probabilities should too. The differences of the stable pixels (Eq. 7 to
9) are averaged without the largest ones, which boundaries and mistakes make (Eq. 10), and the
averages of all distances are added, the longer ones weighing less (Eq. 11). It needs nothing but
logits and labels, so any segmenter can be trained with it.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor


def temporal_difference(probabilities: Tensor, stride: int) -> Tensor:
    """
    Eq. 7: how much the class probabilities of a pixel differ between frames `stride` apart.

    Args:
        probabilities: float [B, T, K, H, W], a distribution over K.
        stride: frames between the two, 1..T-1.

    Returns:
        float [B, T - stride, H, W], 0..2.

    """
    return (probabilities[:, stride:] - probabilities[:, :-stride]).abs().sum(2)


def stable_pixels(labels: Tensor, stride: int, ignore_id: int) -> Tensor:
    """
    Eq. 8: where both frames are labelled, and alike.

    Args:
        labels: int64 [B, T, H, W].
        stride: frames between the two, 1..T-1.
        ignore_id: label of the pixels that are not labelled.

    Returns:
        bool [B, T - stride, H, W].

    """
    before, after = labels[:, :-stride], labels[:, stride:]
    return (before == after) & (before != ignore_id)


def stable_differences(probabilities: Tensor, labels: Tensor, stride: int,
                       ignore_id: int) -> Tensor:
    """Eq. 9: the differences (Eq. 7) of all stable pixels (Eq. 8) of the batch, float [V]."""
    return temporal_difference(probabilities, stride)[stable_pixels(labels, stride, ignore_id)]


def trimmed_mean(values: Tensor, trim: float) -> Tensor:
    """
    Eq. 10: the mean without the largest values.

    (1 - trim) V of the V values are kept, rounded up: of a few values at least one is.

    Args:
        values: float [V], V > 0.
        trim: share that is left out, 0 <= trim < 1.

    Returns:
        float scalar.

    """
    # in decimals, as the user wrote it: 0.29 * 100 is less than 29 in floating point
    left_out = int(Fraction(str(trim)) * len(values))
    kept = len(values) - left_out
    return values.topk(kept, largest=False, sorted=False).values.mean() if left_out else (
        values.mean())


def masked_temporal_consistency(logits: Tensor, labels: Tensor, ignore_id: int, *,
                                trim: float = 0.2, decay: float = 0.5,
                                scales: int | None = None) -> Tensor:
    """
    Eq. 11: the trimmed means of all temporal scales, weighted by decay ** scale, averaged.

    Scale s compares frames 2 ** s apart. A scale without a stable pixel counts neither in the sum
    nor in the average. Computed in float32 at least, whatever the logits come in.

    Args:
        logits: float [B, T, K, H, W].
        labels: int64 [B, T, H, W], the labels of the same pixels.
        ignore_id: label of the pixels that do not count.
        trim: share of the largest differences that is left out, 0 <= trim < 1.
        decay: weight of a scale against the one before, > 0.
        scales: how many scales there are; None takes all that fit into the clip.

    Returns:
        float scalar, 0..2; zero, with a gradient of zero, if no scale has a stable pixel.

    Raises:
        ValueError: `trim` is out of range, or the labels are of another size.

    """
    if not 0 <= trim < 1:
        raise ValueError(f'trim is {trim}: choose 0 or more, and less than 1')
    if labels.shape != (*logits.shape[:2], *logits.shape[3:]):
        raise ValueError(f'labels {tuple(labels.shape)} do not fit logits {tuple(logits.shape)}')
    exact = torch.promote_types(logits.dtype, torch.float32)
    probabilities = logits.softmax(2, dtype=exact)
    fitting = (labels.shape[1] - 1).bit_length()
    terms = []
    for scale in range(fitting if scales is None else min(scales, fitting)):
        values = stable_differences(probabilities, labels, 2 ** scale, ignore_id)
        if len(values):
            terms.append(decay ** scale * trimmed_mean(values, trim))
    # the sum over nothing is zero even where a logit is infinite
    return torch.stack(terms).mean() if terms else probabilities[..., :0].sum()
