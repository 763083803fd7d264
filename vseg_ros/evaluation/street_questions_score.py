"""
Score answers about the synthetic street, beside what a method that does not read would answer.

The street knows which thing every sentence means, so the truth of a sentence is that thing's mask
on every frame of the clip; of one that nothing matches it is empty. Scores are J and F of
DAVIS-2017, the mean over a clip's frames: a frame on which neither answer nor truth has a pixel
counts 1. Means are taken over sentences: over all, over those that mean something, and over each
kind. The baselines are given the true masks, so they show what the sentences alone are worth.

    {"source": "street", "clips": n, "expressions": n, "seed": n, "pipelines": {"virst": {"j": …,
     "f": …, "jf": …, "j_matching": …, …, "no_match_empty": …, "fps": …, "jf_colour": …, …},
     "largest_moving": {…}, "random_instance": {…}}}

Scores are 0..1, null for what could not be measured. `j`, `f` and `jf` are means over all
sentences, `_matching` stands behind those over the sentences that mean something, `_KIND` (spaces
as underscores) behind those of a kind, and `expressions_KIND` counts its sentences.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vseg_ros.atomic import atomic_file
from vseg_ros.datasets.street_queries import (
    KINDS,
    ClipFacts,
    StreetQuery,
    draw_queries,
    largest_moving,
    random_instance,
)
from vseg_ros.evaluation.referring_scores import ExpressionScore
from vseg_ros.evaluation.region_contour import score_masks
from vseg_ros.frame import BoolArray, Frame
from vseg_ros.video_query import VideoQuery

LARGEST_MOVING, RANDOM_INSTANCE = 'largest_moving', 'random_instance'
MEASURES = ('j', 'f', 'jf')
NEGATIVE_SHARE = 0.2
"""Share of the sentences that nothing matches, as far as a clip has enough of both."""


@dataclass(frozen=True, eq=False)
class StreetClip:
    """
    A clip that is asked about.

    Attributes:
        name: of the clip.
        frames: T frames, in order of time.
        instances: uint16 [T, H, W], the thing of every pixel, 0 for none.
        facts: what is known of the same frames.

    """

    name: str
    frames: Sequence[Frame]
    instances: NDArray[np.uint16]
    facts: ClipFacts

    def masks(self, instances: Iterable[int]) -> BoolArray:
        """Return where some things are seen, bool [T, H, W]."""
        found: BoolArray = np.isin(self.instances, sorted(instances))
        return found


@dataclass(frozen=True)
class StreetScores:
    """
    What one method reached.

    Attributes:
        scores: one a sentence; the group is its kind.
        frames: frames asked about, each as often as it was.
        seconds: how long the questions took; 0 for a baseline.

    """

    scores: tuple[ExpressionScore, ...]
    frames: int = 0
    seconds: float = 0.0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the sentences, in the order of `KINDS`."""
        present = {score.group for score in self.scores}
        return tuple(kind for kind in KINDS if kind in present)

    @property
    def fps(self) -> float:
        """Frames a second, NaN for a baseline."""
        return self.frames / self.seconds if self.seconds else math.nan

    @property
    def no_match_empty(self) -> float:
        """Share of sentences that nothing matches answered with empty masks, NaN without any."""
        return _mean([float(score.empty) for score in self.scores if score.no_match])

    def mean(self, measure: str, kind: str | None = None, matching: bool = False) -> float:
        """
        Return the mean of one of `MEASURES` over sentences, 0..1, NaN without any.

        Args:
            measure: its name.
            kind: of this kind alone; None takes all.
            matching: whether sentences that nothing matches are left out.

        """
        return _mean([getattr(score, measure) for score in self.scores
                      if kind in (None, score.group) and not (matching and score.no_match)])

    def as_dict(self) -> dict[str, float | None]:
        """Return the scores as they are written, None for NaN."""
        values = {measure: self.mean(measure) for measure in MEASURES}
        values |= {f'{measure}_matching': self.mean(measure, matching=True)
                   for measure in MEASURES}
        values |= {'no_match_empty': self.no_match_empty, 'fps': self.fps}
        for kind in self.kinds:
            key = kind.replace(' ', '_')
            values |= {f'{measure}_{key}': self.mean(measure, kind) for measure in MEASURES}
            values[f'expressions_{key}'] = sum(score.group == kind for score in self.scores)
        return {name: None if math.isnan(value) else value for name, value in values.items()}


def score_street(query: VideoQuery, name: str, clips: Iterable[StreetClip], *, questions: int,
                 seed: int, report: Callable[[str], None] = lambda clip: None,
                 ) -> dict[str, StreetScores]:
    """
    Ask sentences with the templates of the test split about clips, and score the answers.

    All sentences of a clip are asked in a row, so that what is computed of a frame serves all.

    Args:
        query: what answers.
        name: of what answers, in the result.
        clips: what is asked about.
        questions: sentences a clip; there are fewer if the clip has fewer.
        seed: of the sentences and of the random baseline; a clip's sentences do not depend on
            the clips before it.
        report: told of every clip.

    Returns:
        the scores of the query and of both baselines, by name, of the same sentences.

    """
    found: dict[str, list[ExpressionScore]] = {
        key: [] for key in (name, LARGEST_MOVING, RANDOM_INSTANCE)}
    frames, seconds = 0, 0.0
    for number, clip in enumerate(clips):
        random = np.random.default_rng((seed, number))
        asked = draw_queries(clip.facts, random, 'test', questions, NEGATIVE_SHARE)
        for place, sentence in enumerate(asked):
            start = time.perf_counter()
            masks = query.ask(clip.frames, sentence.text).masks
            seconds += time.perf_counter() - start
            frames += len(clip.frames)
            answers = {name: masks,
                       LARGEST_MOVING: clip.masks(largest_moving(clip.facts)),
                       RANDOM_INSTANCE: clip.masks(random_instance(clip.facts, random))}
            for key, answer in answers.items():
                found[key].append(score_sentence(clip, str(place), sentence, answer))
        report(clip.name)
    return {key: StreetScores(tuple(scores), *((frames, seconds) if key == name else ()))
            for key, scores in found.items()}


def score_sentence(clip: StreetClip, number: str, sentence: StreetQuery,
                   masks: BoolArray) -> ExpressionScore:
    """
    Score one answer.

    Args:
        clip: what was asked about.
        number: of the sentence in the clip.
        sentence: what was asked.
        masks: bool [T, H, W], the answer.

    Raises:
        ValueError: the answer has another shape than the clip.

    """
    measured = score_masks(masks, clip.masks(sentence.instances))
    return ExpressionScore(clip.name, number, sentence.kind, measured.j, measured.f, math.nan,
                           not sentence.instances, not masks.any())


def street_dict(source: str, seed: int, results: Mapping[str, StreetScores]) -> dict[str, Any]:
    """
    Turn the scores of one run into the object that is written as JSON.

    Args:
        source: what was evaluated.
        seed: of the run.
        results: by method, at least one, all of the same sentences.

    """
    scores = next(iter(results.values())).scores
    return {'source': source, 'clips': len({score.video for score in scores}),
            'expressions': len(scores), 'seed': seed,
            'pipelines': {name: result.as_dict() for name, result in results.items()}}


def write_street(path: Path, source: str, seed: int, results: Mapping[str, StreetScores]) -> None:
    """
    Write the scores as JSON, whole or not at all.

    Raises:
        UserError: the file cannot be written.

    """
    text = json.dumps(street_dict(source, seed, results), indent=2, ensure_ascii=False,
                      allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
