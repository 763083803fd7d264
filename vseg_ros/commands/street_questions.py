"""Encoded clips of the synthetic street with sentences about them, for `vseg train virst`."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from vseg_ros.commands.tracking_clips import read_notes
from vseg_ros.datasets.street_queries import ClipFacts, draw_queries
from vseg_ros.datasets.street_queries.claims import claim_levels
from vseg_ros.datasets.street_queries.grammar import Split
from vseg_ros.datasets.street_queries.nouns import NO, YES, Levels
from vseg_ros.models.encoded_clips import EncodedClip, EncodedClips
from vseg_ros.virst.claims import ThingClaims
from vseg_ros.virst.training_batches import Question

NEGATIVE_SHARE = 0.2
"""Share of the questions that nothing in the clip answers."""


class QuestionedStreets:
    """
    Clips, and questions drawn about them.

    Args:
        clips: encoded clips, whose notes are those of `tracking_clips.write_notes`; one without
            notes has no questions.
        split: whose templates the sentences take.
        kinds: kinds of sentences to take, of `street_queries.KINDS`; None takes all.

    """

    def __init__(self, clips: EncodedClips, split: Split = 'train',
                 kinds: Collection[str] | None = None) -> None:
        self._clips, self._split, self._kinds = clips, split, kinds
        self._facts: dict[int, ClipFacts] = {}

    def __len__(self) -> int:
        """Count the clips."""
        return len(self._clips)

    def __getitem__(self, index: int) -> EncodedClip:
        """Return a clip."""
        return self._clips[index]

    def claims(self, index: int) -> ThingClaims | None:
        """Return what of the grammar's claims holds of the things of a clip."""
        facts = self._facts_of(index)
        if facts is None:
            return None
        numbers, levels, nothing = claim_levels(facts)
        return ThingClaims(torch.from_numpy(numbers), _truth(levels), _truth(nothing))

    def questions(self, index: int, count: int, random: np.random.Generator) -> list[Question]:
        """Draw up to `count` questions about a clip."""
        facts = self._facts_of(index)
        if facts is None:
            return []
        wanted = count if self._kinds is None else 3 * count
        drawn = draw_queries(facts, random, self._split, wanted, NEGATIVE_SHARE)
        return [Question(each.text, each.answer, each.instances) for each in drawn
                if self._kinds is None or each.kind in self._kinds][:count]

    def _facts_of(self, index: int) -> ClipFacts | None:
        """Return what is known of a clip, None of one without notes."""
        if index not in self._facts:
            notes = self._clips.notes(index)
            if not notes:
                return None
            self._facts[index] = read_notes(notes)
        return self._facts[index]


def _truth(levels: Levels) -> Tensor:
    """Turn levels of truth into 1, 0 and nan for a doubt."""
    truth = np.full(3, np.nan, np.float32)
    truth[[NO, YES]] = 0, 1
    return torch.from_numpy(truth[levels])
