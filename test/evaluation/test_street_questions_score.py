"""Scores of sentences about a street, against loops over pixels and answers that are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from vseg_ros.datasets.street_queries import clip_facts, draw_queries, largest_moving
from vseg_ros.evaluation.referring_scores import ExpressionScore
from vseg_ros.evaluation.street_questions_score import (
    LARGEST_MOVING,
    NEGATIVE_SHARE,
    RANDOM_INSTANCE,
    StreetClip,
    StreetScores,
    score_sentence,
    score_street,
    street_dict,
    write_street,
)
from vseg_ros.frame import MaskTrack
from vseg_ros.io.street import SyntheticStreet

SIZE = 120, 160
SEED, QUESTIONS = 3, 10


@pytest.fixture(scope='module')
def clips() -> list[StreetClip]:
    made = []
    for seed in (1, 6):
        street = SyntheticStreet(seed, 21, SIZE, 15.0)
        frames = [street[index] for index in (4, 12, 20)]
        facts = clip_facts([each.attributes for each in frames],
                           [each.frame.stamp / 1e9 for each in frames], SIZE)
        made.append(StreetClip(f'street {seed}', [each.frame for each in frames],
                               np.stack([each.instances for each in frames]), facts))
    return made


class Knowing:
    """Answers what it was told is right, or with nothing."""

    def __init__(self, clips, right=True):
        self.right = right
        self.truth = {}
        for number, clip in enumerate(clips):
            random = np.random.default_rng((SEED, number))
            for each in draw_queries(clip.facts, random, 'test', QUESTIONS, NEGATIVE_SHARE):
                self.truth[clip.frames[0].image.tobytes(), each.text] = clip.masks(each.instances)

    def ask(self, frames, text):
        masks = self.truth[frames[0].image.tobytes(), text] & self.right
        return MaskTrack(masks, tuple(each.stamp for each in frames), masks.any(axis=(1, 2)), 1.0)

    def follow(self):
        raise ValueError('nothing to follow')


def test_the_right_answers_score_one_and_silence_what_it_deserves(clips):
    right = score_street(Knowing(clips), 'virst', clips, questions=QUESTIONS, seed=SEED)
    assert (right['virst'].mean('j'), right['virst'].mean('f')) == (1, 1)
    assert right['virst'].no_match_empty == 1
    silent = score_street(Knowing(clips, right=False), 'virst', clips, questions=QUESTIONS,
                          seed=SEED)['virst']
    assert silent.no_match_empty == 1
    expected = [np.mean([not frame.any() for frame in clip.masks(each.instances)])
                for number, clip in enumerate(clips)
                for each in draw_queries(clip.facts, np.random.default_rng((SEED, number)),
                                         'test', QUESTIONS, NEGATIVE_SHARE)]
    assert [score.j for score in silent.scores] == pytest.approx(expected)
    assert 0 < silent.mean('jf', matching=True) < silent.mean('jf') < 1


def test_baselines_answer_the_same_sentences(clips):
    results = score_street(Knowing(clips), 'virst', clips, questions=QUESTIONS, seed=SEED)
    assert list(results) == ['virst', LARGEST_MOVING, RANDOM_INSTANCE]
    sentences = [[(score.video, score.expression_id, score.group, score.no_match)
                  for score in result.scores] for result in results.values()]
    assert sentences[0] == sentences[1] == sentences[2]
    assert len({score.video for score in results['virst'].scores}) == 2
    for name in (LARGEST_MOVING, RANDOM_INSTANCE):
        assert math.isnan(results[name].fps)
        assert results[name].mean('jf') < 0.8
    assert results['virst'].frames == 3 * len(results['virst'].scores)


def test_j_is_counted_pixel_by_pixel(clips):
    clip = clips[0]
    sentences = draw_queries(clip.facts, np.random.default_rng(0), 'test', 6, 0.0)
    answer = clip.masks(largest_moving(clip.facts))
    for sentence in sentences:
        shares = []
        for frame, drawn in zip(clip.instances, answer, strict=True):
            both = either = 0
            for pixel, marked in zip(frame.ravel().tolist(), drawn.ravel().tolist(), strict=True):
                meant = pixel in sentence.instances
                both += meant and marked
                either += meant or marked
            shares.append(both / either if either else 1.0)
        score = score_sentence(clip, '0', sentence, answer)
        assert score.j == pytest.approx(np.mean(shares))
        assert (score.group, score.no_match, score.empty) == (sentence.kind, False,
                                                              not answer.any())


def test_means_are_over_sentences_and_the_json_is_flat(tmp_path: Path):
    scores = StreetScores((
        ExpressionScore('a', '0', 'colour', 0.8, 0.6, math.nan, False, False),
        ExpressionScore('a', '1', 'colour', 0.2, 0.0, math.nan, False, True),
        ExpressionScore('b', '0', 'hard negative', 1.0, 1.0, math.nan, True, True),
        ExpressionScore('b', '1', 'negative', 0.0, 0.0, math.nan, True, False)), 20, 4.0)
    assert scores.kinds == ('colour', 'negative', 'hard negative')
    write_street(tmp_path / 's.json', 'street', 7, {'virst': scores})
    told = json.loads((tmp_path / 's.json').read_text())
    assert told == street_dict('street', 7, {'virst': scores})
    assert (told['clips'], told['expressions'], told['seed']) == (2, 4, 7)
    values = told['pipelines']['virst']
    assert values['j'] == pytest.approx(0.5)
    assert values['jf'] == pytest.approx(0.45)
    assert values['jf_matching'] == pytest.approx(0.4)
    assert values['jf_hard_negative'] == 1
    assert values['expressions_colour'] == 2
    assert (values['no_match_empty'], values['fps']) == (0.5, 5)
    assert all(value is None or isinstance(value, (int, float)) for value in values.values())
