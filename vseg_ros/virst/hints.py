"""
What a model that starts from nothing is told in training besides.

The paper's models come trained and do without these losses; the weight of each is a setting.

    grounding   where to look: the cells that language model and second fusion compare best with
    choice      which of a clip's things to look at most
    things      which cells show the same thing (`things.py`)
    claims      what each visual token shows (`claims.py`)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vseg_ros.training_settings import VirstTrainingSettings
from vseg_ros.virst.claims import ThingClaims, claim_loss, claim_targets, thing_shares
from vseg_ros.virst.language_model import VideoLanguageModel
from vseg_ros.virst.model import Prompted
from vseg_ros.virst.nano_language_model import NanoInputs, NanoLanguageModel
from vseg_ros.virst.things import Sameness
from vseg_ros.virst.training_batches import Batch

ROWS = 6
"""Cells of each thing of a clip that are compared with all others in a step."""
EMPTY_ROWS = 16
"""Cells of a clip without a thing that are compared with all others in a step."""
_LEAST_SHARE = 1e-3


class Hint(NamedTuple):
    """A loss with its name and weight."""

    name: str
    weight: float
    loss: Tensor


def hint_losses(settings: VirstTrainingSettings, language: VideoLanguageModel, asked: Prompted,
                batch: Batch, generator: torch.Generator) -> Iterator[Hint]:
    """
    Compute what of these losses counts, for C clips and K questions about each.

    Args:
        settings: their weights.
        language: the language model; only a small one can be told more than where to look.
        asked: what came of the questions.
        batch: clips, questions and truth.
        generator: source of the cells that are compared.

    """
    looks = dict(zip(('words', 'frames'), asked.grounding, strict=False))
    for name, heat in looks.items():
        yield Hint(name, settings.grounding, grounding_loss(heat, batch.masks))
    if not isinstance(language, NanoLanguageModel):
        return
    grid = language.settings.grid
    known = {clip: claims for clip, claims in enumerate(batch.claims) if claims is not None}
    if not known:
        return
    shares = {clip: thing_shares(batch.regions[clip], claims.regions, grid)
              for clip, claims in known.items()}
    if settings.choice:
        for name, heat in looks.items():
            if heat.shape[-1] == grid:
                chosen = _choices(heat, batch, known, shares)
                if chosen is not None:
                    yield Hint(f'choice-{name}', settings.choice, chosen)
    if settings.things and asked.sameness is not None:
        same = things_loss([asked.sameness.of(clip) for clip in known], list(shares.values()),
                           generator)
        if same is not None:
            yield Hint('things', settings.things, same)
    if settings.claims and language.claims is not None:
        assert isinstance(asked.inputs, NanoInputs)
        targets = [claim_targets(shares[clip], claims) for clip, claims in known.items()]
        told = language.claims(asked.inputs.memory[list(known)])
        yield Hint('claims', settings.claims, claim_loss(told, torch.stack(targets).flatten(1, 3)))


def _choices(heat: Tensor, batch: Batch, known: dict[int, ThingClaims],
             shares: dict[int, Tensor]) -> Tensor | None:
    """Take the mean of `choice_loss` over clips."""
    times = len(batch.questions) // len(batch.regions)
    losses = []
    for clip, claims in known.items():
        numbers = claims.regions.tolist()
        rows = slice(clip * times, (clip + 1) * times)
        meant = [next((numbers.index(region) for region in question.regions if region in numbers),
                      -1) for question in batch.questions[rows]]
        losses.append(choice_loss(heat[rows], shares[clip], meant))
    found = [loss for loss in losses if loss is not None]
    return torch.stack(found).mean() if found else None


def grounding_loss(heat: Tensor, masks: Tensor) -> Tensor:
    """
    Compare where a model looks with where the object is.

    Args:
        heat: logits [B, T, g, g].
        masks: bool [B, T, n, n]; a cell belongs to the object by the share of it that does.

    Returns:
        cross entropy of all cells, and Dice over each clip that shows the object.

    """
    return share_loss(heat, F.adaptive_avg_pool2d(masks.float(),
                                                  (heat.shape[-2], heat.shape[-1])))


def share_loss(heat: Tensor, share: Tensor) -> Tensor:
    """
    Compare logits of cells with the share of each that belongs to an object.

    Args:
        heat: logits [B, ...].
        share: of the same shape, 0..1.

    Returns:
        cross entropy of all cells, and Dice over each of the B that shows its object.

    """
    heat = heat.float()
    # objects are small: cells on them count as much as all others together would at 1 : 10
    weight = 1 + 9 * share
    entropy = F.binary_cross_entropy_with_logits(heat, share, weight, reduction='sum')
    probability = heat.sigmoid()
    overlap = 2 * (probability * share).flatten(1).sum(1) + 0.1
    dice = 1 - overlap / (probability.flatten(1).sum(1) + share.flatten(1).sum(1) + 0.1)
    visible = share.flatten(1).any(1)
    return entropy / weight.sum() + (dice * visible).sum() / visible.sum().clamp_min(1)


def choice_loss(heat: Tensor, shares: Tensor, meant: Sequence[int]) -> Tensor | None:
    """
    Compare the thing of a clip that is looked at most with the one that is meant.

    Args:
        heat: logits [K, T, g, g] of questions about one clip.
        shares: [N, T, g, g], how much of each cell each thing fills.
        meant: the place in `shares` of what each question means, -1 for none of them.

    Returns:
        mean cross entropy of a softmax over things of their cells' mean logits, over the
        questions that mean a thing in view; None if there are none.

    """
    filled = shares.flatten(1)
    cells = filled.sum(1)
    seen = cells > _LEAST_SHARE
    rows = [row for row, thing in enumerate(meant) if thing >= 0 and seen[thing]]
    if not rows:
        return None
    means = heat[rows].float().flatten(1) @ filled.T / cells.clamp_min(_LEAST_SHARE)
    wanted = torch.tensor([meant[row] for row in rows], device=heat.device)
    return F.cross_entropy(means.masked_fill(~seen, float('-inf')), wanted)


def things_loss(sameness: Sequence[Sameness], shares: Sequence[Tensor],
                generator: torch.Generator) -> Tensor | None:
    """
    Compare which cells are held for the same thing with which are.

    Args:
        sameness: of each clip alone.
        shares: [N, T, g, g] of each clip, how much of each cell each of its things fills.
        generator: source of the cells that are compared.

    Returns:
        the mean of `share_loss` over cells drawn of every thing and of where there is none;
        None if no clip shows a thing.

    """
    logits, targets = [], []
    for same, filled in zip(sameness, shares, strict=True):
        flat = filled.flatten(1)
        flat = flat[flat.sum(1) > _LEAST_SHARE]
        if not len(flat):
            continue
        cells = torch.multinomial(flat, ROWS, replacement=True, generator=generator)
        target = flat.repeat_interleave(ROWS, 0)
        empty = torch.nonzero(flat.sum(0) == 0)[:, 0]
        drawn = torch.randint(max(len(empty), 1), (EMPTY_ROWS,), generator=generator)
        rows = torch.cat((cells.flatten(), empty[drawn] if len(empty) else empty))
        logits.append(same.compare(rows[None])[0])
        targets.append(F.pad(target, (0, 0, 0, len(rows) - len(target))))
    return share_loss(torch.cat(logits), torch.cat(targets)) if logits else None
