"""
Scores of answered sentences, their means, and the JSON they are written as.

The mean of J and of F is taken over the sentences of each group (who wrote them in Ref-DAVIS17,
their kind in ReVOS), then over the groups. A data set without groups has one, so that its mean is
over all sentences. Sentences of the group `no_match` are in no mean of J and F.

The JSON is flat: `{"source": …, "clips": n, "expressions": n, "pipelines": {"virst": {"j": …, "f":
…, "jf": …, "no_match_empty": …, "fps": …}}}`, scores in 0..1, null for what could not be measured.
Keys are added where they say something: `robustness` (ReVOS), `ciou` and `giou` (images), and each
of `j`, `f`, `jf`, `robustness` with `_GROUP` behind where there are several groups.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vseg_ros.atomic import atomic_file
from vseg_ros.datasets.referring import NO_MATCH

MEANS = ('j', 'f', 'jf', 'robustness')
"""Scores of a sentence that means are taken of."""


@dataclass(frozen=True)
class ExpressionScore:
    """
    How one sentence was answered; NaN is what could not be measured.

    Attributes:
        video: its video.
        expression_id: its id within the video.
        group: its group.
        j: region similarity, 0..1, mean over the frames.
        f: contour accuracy, 0..1, mean over the frames.
        robustness: share of the video's objects that was not wrongly marked, 0..1.
        no_match: whether it names nothing in the video; None where that is not known.
        empty: whether it was answered with empty masks.

    """

    video: str
    expression_id: str
    group: str
    j: float
    f: float
    robustness: float
    no_match: bool | None
    empty: bool

    @property
    def jf(self) -> float:
        """J&F, the mean of the two."""
        return (self.j + self.f) / 2


@dataclass(frozen=True)
class ReferringResult:
    """
    What one pipeline reached.

    Attributes:
        scores: one a sentence.
        frames: frames asked about, each as often as it was.
        seconds: how long the questions took.
        ciou: cumulative IoU, 0..1, of a data set of images, else NaN.
        giou: mean IoU, 0..1, of a data set of images, else NaN.

    """

    scores: tuple[ExpressionScore, ...]
    frames: int
    seconds: float
    ciou: float = math.nan
    giou: float = math.nan

    @property
    def clips(self) -> int:
        """Number of videos or images."""
        return len({score.video for score in self.scores})

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups whose means are taken, in the order they come."""
        return tuple(dict.fromkeys(score.group for score in self.scores
                                   if score.group != NO_MATCH))

    @property
    def fps(self) -> float:
        """Frames a second, NaN if nothing was asked."""
        return self.frames / self.seconds if self.frames else math.nan

    @property
    def no_match_empty(self) -> float:
        """Share of sentences that match nothing answered with empty masks, NaN without any."""
        return _mean([float(score.empty) for score in self.scores if score.no_match])

    def mean(self, score: str, group: str | None = None) -> float:
        """
        Return the mean of one of `MEANS`.

        Args:
            score: its name.
            group: of this group alone; by default the mean over the groups.

        Returns:
            0..1, NaN where it could not be measured.

        """
        if group is None:
            return _mean([self.mean(score, name) for name in self.groups])
        return _mean([getattr(one, score) for one in self.scores if one.group == group])

    def as_dict(self) -> dict[str, float | None]:
        """Return the scores as they are written, None for NaN."""
        values = {name: self.mean(name) for name in MEANS[:3]}
        values |= {'no_match_empty': self.no_match_empty, 'fps': self.fps}
        extra = {'robustness': self.mean('robustness'), 'ciou': self.ciou, 'giou': self.giou}
        if len(self.groups) > 1:
            extra |= {f'{name}_{group}': self.mean(name, group)
                      for group in self.groups for name in MEANS}
        values |= {name: value for name, value in extra.items() if not math.isnan(value)}
        return {name: None if math.isnan(value) else value for name, value in values.items()}


def results_dict(source: str, results: Mapping[str, ReferringResult]) -> dict[str, Any]:
    """
    Turn the results of one run into the object that is written as JSON.

    Args:
        source: what was evaluated.
        results: by pipeline, at least one, all of the same sentences.

    """
    first = next(iter(results.values()))
    return {'source': source, 'clips': first.clips, 'expressions': len(first.scores),
            'pipelines': {name: result.as_dict() for name, result in results.items()}}


def write_results(path: str | Path, source: str, results: Mapping[str, ReferringResult]) -> None:
    """
    Write the results of one run as JSON, whole or not at all.

    Raises:
        UserError: the file cannot be written.

    """
    text = json.dumps(results_dict(source, results), indent=2, ensure_ascii=False,
                      allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
