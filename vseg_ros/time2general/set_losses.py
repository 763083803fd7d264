"""
Set losses of a clip: queries are matched to the classes that the clip shows, then compared.

As in Mask2Former (Cheng et al., *Masked-attention Mask Transformer for Universal Image
Segmentation*, CVPR 2022) and its form for videos. The targets of a clip are tubes: for every class
in its labels the pixels of that class in all frames. Each is given to the query that fits it
best, by class, mask cross entropy and Dice together; that query learns class and mask of the
tube, all others learn to be no object. Clips without a labelled pixel teach nothing.

Masks are compared at the labels' resolution but not at all pixels: at `POINTS` of them, drawn
anew each time, so that a pole one pixel wide counts as one pixel wide though the masks are
coarser. Three quarters of a mask's points are the least certain of three times as many drawn; the
others, and all points of the matching, are drawn uniformly. A clip of at most `POINTS` labelled
pixels is compared at all of them. Points lie on labelled pixels alone: the others never count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.training_settings import ClipLossSettings

POINTS = 12_544
"""Points at which the masks of a clip are compared."""
OVERSAMPLING = 3
"""How many times as many points are drawn as candidates for the least certain ones."""
UNCERTAIN = 0.75
"""Share of the points that are the least certain ones."""


@dataclass(frozen=True)
class ClipPrediction:
    """
    What a decoder block makes of a batch of clips.

    Attributes:
        class_logits: float [B, Q, K + 1], the classes of the queries; the last is no object.
        mask_logits: float [B, Q, T, h, w], the masks of the queries.

    """

    class_logits: Tensor
    mask_logits: Tensor


@dataclass(frozen=True)
class ClipTargets:
    """
    What the queries of a clip are to find.

    Attributes:
        classes: int64 [N], ascending, the classes in the labels.
        pixels: int64 [L], where the labelled pixels lie among the T H W of the clip.
        labels: int64 [L], their labels.
        size: T, H and W.

    """

    classes: Tensor
    pixels: Tensor
    labels: Tensor
    size: tuple[int, int, int]

    def tubes(self, points: Tensor) -> Tensor:
        """Return which tube holds each of some labelled pixels, int64 [P] -> bool [N, P]."""
        return self.labels[points] == self.classes[:, None]

    def draw(self, count: int) -> Tensor:
        """Draw labelled pixels uniformly, with repetition: int64 [count] into `labels`."""
        drawn = torch.randint(len(self.pixels), (count,), device=self.pixels.device)
        # in the order of memory, which halves the time to read masks there
        return drawn.sort().values


def clip_targets(labels: Tensor, ignore_id: int) -> ClipTargets:
    """Find the classes and labelled pixels of int64 labels [T, H, W]."""
    flat = labels.flatten()
    pixels = (flat != ignore_id).nonzero().squeeze(1)
    labelled = flat[pixels]
    frames, height, width = labels.shape
    classes = torch.bincount(labelled).nonzero().squeeze(1)
    return ClipTargets(classes, pixels, labelled, (frames, height, width))


def values_at(masks: Tensor, pixels: Tensor, size: tuple[int, int, int]) -> Tensor:
    """
    Read masks at pixels of a finer grid, bilinearly within a frame, pixel centres kept in place.

    Args:
        masks: float [M, T, h, w].
        pixels: int64 [P], places among T * H * W.
        size: T, H and W.

    Returns:
        float32 [M, P] (float64 if the masks are).

    """
    _, height, width = size
    coarse_height, coarse_width = masks.shape[-2:]
    exact = torch.promote_types(masks.dtype, torch.float32)

    def taps(place: Tensor, fine: int, coarse: int) -> tuple[Tensor, Tensor, Tensor]:
        position = ((place.to(exact) + 0.5) * (coarse / fine) - 0.5).clamp(0, coarse - 1)
        first = position.long()
        return first, (first + 1).clamp_max(coarse - 1), position - first

    frame = pixels // (height * width) * coarse_height
    top, bottom, y = taps(pixels // width % height, height, coarse_height)
    left, right, x = taps(pixels % width, width, coarse_width)
    flat = masks.flatten(1)
    values = flat.new_zeros((len(flat), len(pixels)), dtype=exact)
    for row, row_weight in ((top, 1 - y), (bottom, y)):
        for column, column_weight in ((left, 1 - x), (right, x)):
            index = (frame + row) * coarse_width + column
            values = values + flat.index_select(1, index) * (row_weight * column_weight)
    return values


def pairwise_mask_cost(logits: Tensor, tubes: Tensor) -> Tensor:
    """Binary cross entropy of every mask [Q, P] with every tube bool [N, P], mean: [Q, N]."""
    # -log(1 - p) is softplus(x), and -log p is that minus x
    outside = F.softplus(logits).mean(1)
    return outside[:, None] - logits @ tubes.to(logits.dtype).T / logits.shape[1]


def pairwise_dice_cost(logits: Tensor, tubes: Tensor) -> Tensor:
    """Dice loss of every mask [Q, P] with every tube bool [N, P]: [Q, N]."""
    masks, truth = logits.sigmoid(), tubes.to(logits.dtype)
    both = masks @ truth.T
    return 1 - (2 * both + 1) / (masks.sum(1)[:, None] + truth.sum(1) + 1)


def mask_losses(logits: Tensor, tubes: Tensor) -> Tensor:
    """Binary cross entropy of each mask [M, P] with its tube bool [M, P], mean: [M]."""
    return F.binary_cross_entropy_with_logits(
        logits, tubes.to(logits.dtype), reduction='none').mean(1)


def dice_losses(logits: Tensor, tubes: Tensor) -> Tensor:
    """Dice loss of each mask [M, P] with its tube bool [M, P], 0..1: [M]."""
    masks, truth = logits.sigmoid(), tubes.to(logits.dtype)
    return 1 - (2 * (masks * truth).sum(1) + 1) / (masks.sum(1) + truth.sum(1) + 1)


@torch.no_grad()
def match(class_logits: Tensor, mask_logits: Tensor, targets: ClipTargets,
          settings: ClipLossSettings) -> tuple[Tensor, Tensor]:
    """
    Give every tube of a clip to the query that fits it best (Hungarian matching).

    Args:
        class_logits: float [Q, K + 1].
        mask_logits: float [Q, T, h, w].
        targets: of the clip.
        settings: weights of the costs.

    Returns:
        queries and, in the same order, numbers of their tubes, int64 [M] each, M = min(Q, N).

    Raises:
        UserError: a prediction is not finite.

    """
    points = (targets.draw(POINTS) if len(targets.pixels) > POINTS
              else torch.arange(len(targets.pixels), device=targets.pixels.device))
    values = values_at(mask_logits, targets.pixels[points], targets.size)
    tubes = targets.tubes(points)
    cost = (-settings.class_weight * class_logits.float().softmax(1)[:, targets.classes]
            + settings.mask_weight * pairwise_mask_cost(values, tubes)
            + settings.dice_weight * pairwise_dice_cost(values, tubes))
    if not cost.isfinite().all():
        raise UserError('the training diverged, its predictions are not finite: choose a smaller '
                        'learning_rate and start over')
    queries, numbers = linear_sum_assignment(cost.cpu().numpy())
    device = class_logits.device
    return torch.from_numpy(queries).to(device), torch.from_numpy(numbers).to(device)


def compared_points(masks: Tensor, targets: ClipTargets, numbers: Tensor,
                    ) -> tuple[Tensor, Tensor]:
    """
    Draw the points at which matched masks are compared with their tubes.

    Args:
        masks: logits, float [M, T, h, w].
        targets: of the clip.
        numbers: int64 [M], the tube of each mask.

    Returns:
        logits, float32 [M, P], and tubes, bool [M, P], at P points of each mask's own.

    """
    if len(targets.pixels) <= POINTS:
        every = torch.arange(len(targets.pixels), device=masks.device)
        return values_at(masks, targets.pixels, targets.size), targets.tubes(every)[numbers]
    candidates, uncertain = OVERSAMPLING * POINTS, int(UNCERTAIN * POINTS)
    points = torch.cat([targets.draw(candidates), targets.draw(POINTS - uncertain)])
    values = values_at(masks, targets.pixels[points], targets.size)
    tubes = targets.tubes(points)[numbers]
    chosen = values[:, :candidates].detach().abs().topk(
        uncertain, largest=False, sorted=False).indices
    return (torch.cat([values[:, :candidates].gather(1, chosen), values[:, candidates:]], 1),
            torch.cat([tubes[:, :candidates].gather(1, chosen), tubes[:, candidates:]], 1))


def class_loss(class_logits: Tensor, wanted: Tensor, no_object: float) -> Tensor:
    """
    Average cross entropy of queries, where those of no object weigh less.

    Args:
        class_logits: float [R, K + 1]; the last class is no object.
        wanted: int64 [R].
        no_object: weight of the last class.

    Returns:
        float scalar; zero if R is 0 or nothing weighs.

    """
    weights = class_logits.new_ones(class_logits.shape[1], dtype=torch.float32)
    weights[-1] = no_object
    total = F.cross_entropy(class_logits.float(), wanted, weights, reduction='sum')
    mass = weights[wanted].sum()
    return total / mass.clamp_min(torch.finfo(mass.dtype).tiny)


def set_losses(prediction: ClipPrediction, labels: Tensor, ignore_id: int,
               settings: ClipLossSettings) -> dict[str, Tensor]:
    """
    Compare the predictions of one decoder block with the labels.

    Mask and Dice loss are averaged over all matched masks of the batch. Random points are drawn
    from PyTorch's own generator, which a seed sets.

    Args:
        prediction: for B clips; computed with in float32, whatever it comes in.
        labels: int64 [B, T, H, W], of any size.
        ignore_id: label of the pixels that do not count.
        settings: weights of the matching costs and of no object.

    Returns:
        float scalars 'class', 'mask' and 'dice', not weighted.

    Raises:
        UserError: a prediction is not finite.

    """
    targets = [clip_targets(clip, ignore_id) for clip in labels]
    return _block_losses(prediction, targets, settings)


def deep_set_losses(predictions: Sequence[ClipPrediction], labels: Tensor, ignore_id: int,
                    settings: ClipLossSettings) -> dict[str, Tensor]:
    """Sum `set_losses` over the predictions of all decoder blocks (deep supervision)."""
    targets = [clip_targets(clip, ignore_id) for clip in labels]
    blocks = [_block_losses(prediction, targets, settings) for prediction in predictions]
    return {name: torch.stack([block[name] for block in blocks]).sum() for name in blocks[0]}


def _block_losses(prediction: ClipPrediction, targets: Sequence[ClipTargets],
                  settings: ClipLossSettings) -> dict[str, Tensor]:
    """Match and compare each clip that has labels; average over the batch."""
    class_logits, wanted, masks, dices = [], [], [], []
    for classes, tubes, target in zip(prediction.class_logits, prediction.mask_logits, targets,
                                      strict=True):
        if not len(target.classes):
            continue
        queries, numbers = match(classes, tubes, target, settings)
        goal = torch.full_like(classes[:, 0], classes.shape[1] - 1, dtype=torch.long)
        goal[queries] = target.classes[numbers]
        class_logits.append(classes)
        wanted.append(goal)
        values, truth = compared_points(tubes[queries], target, numbers)
        masks.append(mask_losses(values, truth))
        dices.append(dice_losses(values, truth))
    if not masks:
        # sums over nothing: zero, with a gradient of zero
        zero = (prediction.class_logits[:0].sum() + prediction.mask_logits[:0].sum()).float()
        return {'class': zero, 'mask': zero, 'dice': zero}
    return {'class': class_loss(torch.cat(class_logits), torch.cat(wanted), settings.no_object),
            'mask': torch.cat(masks).mean(), 'dice': torch.cat(dices).mean()}
