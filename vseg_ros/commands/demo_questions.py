"""
The questions of `vseg demo`: three sentences about the street, one of which nothing answers.

They are drawn from what the street knows of itself, with the templates of the test split: a colour
or side, a motion or order, and a thing that is not there. They are asked about two seconds of the
drive; the street's own masks tell how right the answers are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vseg_ros.commands.evaluate_street_questions import street_clip
from vseg_ros.datasets.street_queries import StreetQuery, draw_queries
from vseg_ros.evaluation.report_questions import AnsweredQuestion
from vseg_ros.evaluation.street_questions_score import StreetClip, score_sentence
from vseg_ros.io.street import SyntheticStreet
from vseg_ros.video_query import VideoQuery

WANTED = (('colour', 'side'), ('motion', 'order'), ('negative',))
"""Kinds of the three sentences."""
DRAWN = 40
"""Sentences that they are chosen from."""
_SEED = 0


def window_of(seed: int, frames: int, fps: float, seconds: float) -> StreetClip:
    """
    Paint the window in the middle of a street.

    Args:
        seed: which street.
        frames: its length, at least two.
        fps: its frames a second.
        seconds: length of the window; a shorter street is taken whole.

    """
    street = SyntheticStreet(seed, frames, fps=fps)
    count = min(max(round(seconds * street.fps), 2), len(street))
    start = (len(street) - count) // 2
    painted = [street[start + index] for index in range(count)]
    return street_clip(f'street {seed}', painted, street.conditions.lighting == 'night')


def choose_questions(clip: StreetClip) -> list[StreetQuery]:
    """Choose a sentence of each of `WANTED` that the clip has, rather about different things."""
    drawn = draw_queries(clip.facts, np.random.default_rng(_SEED), 'test', DRAWN, 0.2)
    chosen: list[StreetQuery] = []
    for kinds in WANTED:
        meant = {thing for each in chosen for thing in each.instances}
        fitting = [each for each in drawn if each.kind in kinds]
        fresh = [each for each in fitting if not meant & each.instances]
        chosen += (fresh or fitting)[:1]
    return chosen


def ask_questions(query: VideoQuery, clip: StreetClip,
                  sentences: Iterable[StreetQuery]) -> list[AnsweredQuestion]:
    """Ask sentences about a clip, in a row, and score the answers."""
    answered = []
    for number, sentence in enumerate(sentences):
        track = query.ask(clip.frames, sentence.text)
        score = score_sentence(clip, str(number), sentence, track.masks)
        answered.append(AnsweredQuestion(sentence.text, track, score, clip.frames))
    return answered


def told(answered: Sequence[AnsweredQuestion]) -> list[str]:
    """Say in a line each what was asked and answered."""
    return [f'"{each.text}": {each.track.text or "(no words)"} '
            f'(J&F {100 * each.score.jf:.0f})' for each in answered]
