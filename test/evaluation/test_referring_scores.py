"""Means over sentences and groups, and the JSON."""

from __future__ import annotations

import json
import math

import pytest

from vseg_ros.datasets.referring import NO_MATCH
from vseg_ros.errors import UserError
from vseg_ros.evaluation.referring_scores import ExpressionScore, ReferringResult, write_results

NAN = math.nan


def score(j, f, group='', *, video='v', robust=NAN, no_match=False, empty=False):
    return ExpressionScore(video, '0', group, j, f, robust, no_match, empty)


def test_without_groups_every_sentence_counts_alike():
    result = ReferringResult((score(0.2, 0.4), score(0.4, 0.8, video='w'), score(0.9, 0.3)), 30,
                             2.0)
    assert result.mean('j') == pytest.approx(0.5)
    assert result.mean('f') == pytest.approx(0.5)
    assert result.mean('jf') == pytest.approx(0.5)
    assert (result.clips, result.fps) == (2, 15)
    assert set(result.as_dict()) == {'j', 'f', 'jf', 'no_match_empty', 'fps'}


def test_groups_count_alike_and_no_match_not_at_all():
    result = ReferringResult((
        score(0.2, 0.4, 'referring', robust=1.0), score(0.4, 0.6, 'referring', robust=0.5),
        score(0.9, 0.7, 'reasoning', robust=0.25),
        score(0.0, 0.0, NO_MATCH, no_match=True), score(1.0, 1.0, NO_MATCH, no_match=True,
                                                        empty=True)), 0, 0.0)
    assert result.groups == ('referring', 'reasoning')
    assert result.mean('j', 'referring') == pytest.approx(0.3)
    assert result.mean('j') == pytest.approx((0.3 + 0.9) / 2)
    assert result.mean('jf') == pytest.approx((0.4 + 0.8) / 2)
    assert result.mean('robustness') == pytest.approx((0.75 + 0.25) / 2)
    assert result.no_match_empty == 0.5
    assert math.isnan(result.fps)
    told = result.as_dict()
    assert told['robustness_reasoning'] == 0.25
    assert told['jf_referring'] == pytest.approx(0.4)
    assert told['fps'] is None


def test_the_json_is_flat(tmp_path):
    result = ReferringResult((ExpressionScore('v', '0', '', NAN, NAN, NAN, None, True),), 4, 2.0)
    write_results(tmp_path / 'scores.json', 'MeViS', {'virst': result})
    assert json.loads((tmp_path / 'scores.json').read_text()) == {
        'source': 'MeViS', 'clips': 1, 'expressions': 1, 'pipelines': {'virst': {
            'j': None, 'f': None, 'jf': None, 'no_match_empty': None, 'fps': 2.0}}}
    images = ReferringResult((score(0.5, 0.5),), 1, 1.0, ciou=0.25, giou=0.5)
    write_results(tmp_path / 'scores.json', 'refcoco', {'virst': images})
    told = json.loads((tmp_path / 'scores.json').read_text())['pipelines']['virst']
    assert (told['ciou'], told['giou']) == (0.25, 0.5)
    with pytest.raises(UserError, match='cannot write'):
        write_results(tmp_path / 'none' / 'scores.json', 'refcoco', {'virst': images})
