"""What a step of VIRST's training learns from: encoded clips, and questions about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.models.encoded_clips import EncodedClip
from vseg_ros.training_settings import VirstTrainingSettings
from vseg_ros.virst.claims import ThingClaims

MOST_TRIES = 10_000
"""Clips without a question in a row after which there is nothing to learn."""


@dataclass(frozen=True)
class Question:
    """
    A sentence about a clip, and what is right.

    Attributes:
        text: the sentence.
        answer: what should be said.
        regions: the numbers of what it means; empty if nothing matches.

    """

    text: str
    answer: str
    regions: frozenset[int]


class QuestionedClips(Protocol):
    """Encoded clips of one length, and questions about each."""

    def __len__(self) -> int:
        """Count the clips."""
        ...

    def __getitem__(self, index: int, /) -> EncodedClip:
        """Return a clip."""
        ...

    def questions(self, index: int, count: int, random: np.random.Generator) -> list[Question]:
        """Draw up to `count` questions about a clip."""
        ...

    def claims(self, index: int) -> ThingClaims | None:
        """Return what holds of the things of a clip, None where nobody knows."""
        ...


class Batch(NamedTuple):
    """
    What a step learns from: C clips, and K questions about each in a row.

    Attributes:
        maps: float [C, T, h_i, w_i, C_i] each, finest first.
        questions: C K of them.
        masks: bool [C K, T, n, n].
        regions: int [T, n, n] of each clip.
        claims: what holds of the things of each clip.

    """

    maps: tuple[Tensor, ...]
    questions: list[Question]
    masks: Tensor
    regions: list[Tensor]
    claims: list[ThingClaims | None]


def draw_batch(clips: QuestionedClips, settings: VirstTrainingSettings,
               random: np.random.Generator) -> Batch:
    """
    Draw clips that have questions; one with fewer than K is asked some of them again.

    Raises:
        UserError: there are no clips, or none has a question.

    """
    frames = 1 if settings.stage == 2 else settings.frames
    told = settings.claims or settings.things or settings.choice
    maps: list[tuple[Tensor, ...]] = []
    questions: list[Question] = []
    masks: list[Tensor] = []
    regions: list[Tensor] = []
    claims: list[ThingClaims | None] = []
    passed = 0
    while len(maps) < settings.batch:
        if not len(clips) or passed >= MOST_TRIES:
            raise UserError('no clip has a question: give clips with sentences to train on')
        index = int(random.integers(len(clips)))
        asked = clips.questions(index, settings.questions, random)
        passed += 1
        if not asked:
            continue
        passed = 0
        asked = [asked[number % len(asked)] for number in range(settings.questions)]
        clip = clips[index]
        order = np.sort(random.permutation(len(clip.regions))[:frames])
        maps.append(tuple(each[order] for each in clip.maps))
        questions += asked
        masks += [_mask(clip.regions[order], question) for question in asked]
        regions.append(clip.regions[order])
        claims.append(clips.claims(index) if told else None)
    return Batch(tuple(torch.stack(level) for level in zip(*maps, strict=True)), questions,
                 torch.stack(masks), regions, claims)


def _mask(regions: Tensor, question: Question) -> Tensor:
    wanted = torch.tensor(sorted(question.regions), dtype=regions.dtype)
    return torch.isin(regions, wanted)
