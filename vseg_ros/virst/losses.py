"""
The losses of VIRST: what the masks of a clip, and the numbers beside them, should have been.

    L_total = l_bce L_bce + l_dice L_dice + l_token L_token + l_occ L_occ + l_iou L_iou

with the weights of `LossWeights`. The token loss is the language model's; the others are means
over the clips and frames of a batch.

Kept from the released code: the form of Dice with its scale and epsilon, by which an object that
is not there costs 1 unless the mask is empty to a thousandth of a pixel; a true IoU of 0 where
both masks are empty; no gradient through the true IoU. Not kept: there the weighted IoU term is
added twice (its mask loss holds it already), here once, as the formula has it. For that sum, give
an `iou` weight of 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

DICE_SCALE = 1000.0
"""What the sums over pixels in Dice are divided by."""
EPSILON = 1e-6
"""Keeps quotients of empty masks defined."""


@dataclass(frozen=True)
class LossWeights:
    """
    Weights of the terms of the loss, those of the paper.

    Attributes:
        bce: of the binary cross entropy of the masks.
        dice: of the Dice loss of the masks.
        token: of the language model's cross entropy.
        occlusion: of the score that tells whether the object is visible.
        iou: of the predicted IoU.

    """

    bce: float = 1.0
    dice: float = 1.0
    token: float = 1.0
    occlusion: float = 0.05
    iou: float = 0.05


@dataclass(frozen=True, eq=False)
class MaskLosses:
    """
    Losses of the masks, not weighted.

    Attributes:
        bce: float scalar, 0 or more.
        dice: float scalar, 0..1.
        occlusion: float scalar, 0 or more.
        iou: float scalar, 0 or more.

    """

    bce: Tensor
    dice: Tensor
    occlusion: Tensor
    iou: Tensor


def bce_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """L_bce: cross entropy of the pixels of masks [..., H, W] with bool targets, mean: scalar."""
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """
    L_dice: one minus the soft overlap of each mask with its target, averaged over the masks.

    With p the probabilities, y the target, and sums over the pixels of a mask,

        1 - (2 sum(p y) / 1000 + e) / (sum(p) / 1000 + sum(y) / 1000 + e)

    Args:
        logits: float [..., H, W].
        targets: bool [..., H, W].

    Returns:
        float scalar, 0..1.

    """
    masks, truth = logits.sigmoid().flatten(-2), targets.to(logits.dtype).flatten(-2)
    both = (masks * truth).sum(-1) / DICE_SCALE
    each = (masks.sum(-1) + truth.sum(-1)) / DICE_SCALE
    return (1 - (2 * both + EPSILON) / (each + EPSILON)).mean()


def occlusion_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """L_occ: cross entropy of object scores (logits) [...] with being visible, mean: scalar."""
    visible = targets.flatten(-2).any(-1)
    return F.binary_cross_entropy_with_logits(scores, visible.to(scores.dtype))


def true_ious(logits: Tensor, targets: Tensor) -> Tensor:
    """
    IoU of each mask, taken where its logit is positive, with its target; has no gradient.

    Args:
        logits: float [..., H, W].
        targets: bool [..., H, W].

    Returns:
        float [...], 0..1; 0 where both are empty.

    """
    masks = logits > 0
    both = (masks & targets).flatten(-2).sum(-1)
    either = (masks | targets).flatten(-2).sum(-1)
    return both.to(logits.dtype) / (either.to(logits.dtype) + EPSILON)


def iou_loss(ious: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """L_iou: distance of predicted IoUs [...] from the true ones, mean: scalar."""
    return F.l1_loss(ious, true_ious(logits, targets).to(ious.dtype))


def mask_losses(logits: Tensor, scores: Tensor, ious: Tensor, targets: Tensor) -> MaskLosses:
    """
    Compare what the mask decoder says of a batch of clips with the truth.

    Args:
        logits: masks, float [B, T, H, W], at the size of the targets; computed with in float32,
            whatever they come in (float64 stays).
        scores: logits of the object being visible, float [B, T].
        ious: predicted IoUs, float [B, T].
        targets: bool [B, T, H, W].

    Returns:
        the four losses, each the mean over B and T.

    Raises:
        ValueError: the shapes do not fit together.

    """
    if logits.shape != targets.shape or not scores.shape == ious.shape == logits.shape[:2]:
        raise ValueError(f'masks {tuple(logits.shape)}, scores {tuple(scores.shape)} and IoUs '
                         f'{tuple(ious.shape)} do not fit to targets {tuple(targets.shape)}: '
                         'give [B, T, H, W], [B, T], [B, T] and [B, T, H, W]')
    exact = torch.promote_types(logits.dtype, torch.float32)
    logits, scores, ious = logits.to(exact), scores.to(exact), ious.to(exact)
    return MaskLosses(bce_loss(logits, targets), dice_loss(logits, targets),
                      occlusion_loss(scores, targets), iou_loss(ious, logits, targets))


def total_loss(losses: MaskLosses, token_loss: Tensor, weights: LossWeights) -> Tensor:
    """
    L_total: the weighted sum.

    Args:
        losses: of the masks.
        token_loss: L_token, of the language model, float scalar.
        weights: of the terms.

    Returns:
        float scalar.

    """
    return (weights.bce * losses.bce + weights.dice * losses.dice + weights.token * token_loss
            + weights.occlusion * losses.occlusion + weights.iou * losses.iou)
