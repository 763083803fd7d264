"""
`vseg evaluate street --format street-questions`: sentences about streets that no training saw.

Clip k is five frames of the street with seed k, 2 to 8 frames at 15 Hz apart, as the training
clips are; training takes the streets from seed 10,000 on. The sentences take the templates that
training sentences never do. The same options give the same clips and sentences anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from vseg_ros.commands.evaluate_referring import PIPELINE, require_pipeline
from vseg_ros.commands.progress import progress_bar
from vseg_ros.commands.tracking_clips import StreetClips
from vseg_ros.commands.train_segmenter import FIRST_TRAINING_SEED
from vseg_ros.datasets.street_queries import clip_facts
from vseg_ros.errors import UserError
from vseg_ros.evaluation.street_questions_score import (
    StreetClip,
    StreetScores,
    score_street,
    write_street,
)
from vseg_ros.io.street import StreetFrame
from vseg_ros.settings import VirstSettings
from vseg_ros.settings_reading import load_settings
from vseg_ros.video_query import VideoQuery, create_video_query

SOURCE = 'street'
FRAMES = 5
"""Frames of a clip."""
QUESTIONS = 8
"""Sentences a clip."""


def evaluate_street_command(
        source: str, *, clips: int, seed: int, pipelines: str = PIPELINE,
        json: Path | None = None, params: Path | None = None, overrides: Sequence[str] = (),
        create: Callable[[VirstSettings], VideoQuery] = create_video_query) -> None:
    """
    Ask about held-out streets, print the scores and write what is asked for.

    Args:
        source: must be 'street'.
        clips: number of streets, of which each gives a clip.
        seed: of the sentences.
        pipelines: names, of which there is one.
        json: file for the scores.
        params: file of settings.
        overrides: settings, `name=value` each.
        create: makes what answers.

    Raises:
        UserError: anything a user can mend.

    """
    require_pipeline(pipelines)
    if source != SOURCE:
        raise UserError(f'street-questions asks about the synthetic street, not about {source}: '
                        f'write `vseg evaluate {SOURCE} --format street-questions`')
    if not 1 <= clips <= FIRST_TRAINING_SEED:
        raise UserError(f'--clips {clips}: choose 1 to {FIRST_TRAINING_SEED}; from that street '
                        'on they are trained on')
    query = create(load_settings(VirstSettings, params, overrides))
    with progress_bar(PIPELINE, clips) as bar:
        results = score_street(query, PIPELINE, held_out_clips(clips), questions=QUESTIONS,
                               seed=seed, report=lambda _: bar.advance())
    print_scores(results)
    if json is not None:
        write_street(json, source, seed, results)


def held_out_clips(count: int) -> Iterator[StreetClip]:
    """Paint a clip of each of the streets with seeds 0 to `count` - 1."""
    streets = StreetClips(count, FRAMES, first_seed=0)
    for index in range(count):
        yield street_clip(f'street {index}', *streets.frames(index))


def street_clip(name: str, frames: Sequence[StreetFrame], dark: bool) -> StreetClip:
    """
    Make a clip that can be asked about of painted frames.

    Args:
        name: of the clip.
        frames: at least two.
        dark: whether it is night.

    """
    times = [frame.frame.stamp / 1e9 for frame in frames]
    facts = clip_facts([frame.attributes for frame in frames], times, frames[0].frame.size,
                       dark=dark)
    return StreetClip(name, [frame.frame for frame in frames],
                      np.stack([frame.instances for frame in frames]), facts)


def print_scores(results: Mapping[str, StreetScores]) -> None:
    """Print a table of scores in per cent, a row a method, and J&F a kind of sentence."""
    shown = Console(highlight=False)
    table = Table()
    for column in ('method', 'sentences', 'J', 'F', 'J&F', 'J&F matching', 'no match', 'fps'):
        table.add_column(column, justify='left' if column == 'method' else 'right')
    for name, result in results.items():
        table.add_row(name.replace('_', ' '), str(len(result.scores)),
                      *(_per_cent(result.mean(measure)) for measure in ('j', 'f', 'jf')),
                      _per_cent(result.mean('jf', matching=True)),
                      _per_cent(result.no_match_empty),
                      '-' if math.isnan(result.fps) else f'{result.fps:.1f}')
    shown.print(table)
    kinds = Table('kind', title='J&F by kind')
    for column in ('sentences', *(name.replace('_', ' ') for name in results)):
        kinds.add_column(column, justify='right')
    first = next(iter(results.values()))
    for kind in first.kinds:
        count = sum(score.group == kind for score in first.scores)
        kinds.add_row(kind, str(count),
                      *(_per_cent(result.mean('jf', kind)) for result in results.values()))
    shown.print(kinds)


def _per_cent(share: float) -> str:
    return '-' if math.isnan(share) else f'{100 * share:.2f}'
