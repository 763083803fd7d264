"""The plan: which trials there are, what tells them apart, and how results come together."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from vseg_ros.datasets.weather import Weather
from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import AS_RECORDED, Condition
from vseg_ros.evaluation.plan import make_plan
from vseg_ros.evaluation.trial import Variant, run_trial
from vseg_ros.settings import DittaSettings


def plan(videos, variants, ratios=(0.1,), conditions=(AS_RECORDED,), seed=0):
    return make_plan(videos, variants, ratios, conditions, source='here', seed=seed)


def key_of(*arguments, **options):
    trial, = plan(*arguments, **options).trials
    return trial.key


def test_trials_come_video_by_video(streets):
    videos = [streets.make('a', 1), streets.make('b', 2)]
    ditta = Variant('ditta', 'ditta', DittaSettings())
    trials = plan(videos, [streets.iss, ditta], (0.1, 0.5)).trials
    assert [(each.video.name, each.warmup_ratio, each.variant.name) for each in trials] == [
        (video, ratio, name) for video in 'ab' for ratio in (0.1, 0.5)
        for name in ('iss', 'ditta')]
    assert [each.span.warmup for each in trials[::2]] == [1, 3, 1, 3]


def test_whatever_changes_a_result_changes_the_key(streets):
    video, iss = streets.make('a', 1), streets.iss
    other_settings = replace(iss, settings=iss.settings.model_copy(update={'input_size': 96}))
    key = key_of([video], [iss])
    assert key_of([streets.open('a')], [iss]) == key
    keys = [
        key, key_of([streets.make('b', 1)], [iss]), key_of([video], [other_settings]),
        key_of([video], [replace(iss, pipeline='tent')]), key_of([video], [iss], (0.5,)),
        key_of([video], [iss], (1.0,)), key_of([video], [iss], seed=1),
        key_of([video], [iss], conditions=[Condition(Weather('fog', 3))]),
        key_of([video], [iss], conditions=[Condition(Weather('fog', 4))]),
        key_of([video], [iss], conditions=[Condition(None, 2)])]
    assert len(set(keys)) == len(keys)
    os.utime(streets.root / 'a' / 'labels' / '3.png', ns=(1, 1))
    assert key_of([streets.open('a')], [iss]) not in keys


def test_what_does_not_change_a_result_keeps_the_key(streets):
    video = streets.make('a', 1)
    key = key_of([video], [streets.iss])
    assert key_of([video], [replace(streets.iss, name='plain')]) == key
    among = plan([streets.make('b', 2), video], [streets.iss]).trials
    assert key in [trial.key for trial in among]


def test_the_same_under_two_names_is_one_trial(streets):
    made = plan([streets.make('a', 1)], [streets.iss, replace(streets.iss, name='again')])
    trial, = made.trials
    result, = made.results({trial.key: run_trial(trial, lambda *_: None)})
    assert list(result.pipelines) == ['iss', 'again']
    assert result.pipelines['iss'].miou == result.pipelines['again'].miou


def test_a_video_that_failed_anywhere_is_left_out_everywhere(streets):
    made = plan([streets.make('a', 1), streets.make('b', 2)], [streets.iss], (0.1, 0.5))
    scores = {trial.key: run_trial(trial, lambda *_: None) for trial in made.trials}
    failed = made.trials[0].key
    results = made.results({key: score for key, score in scores.items() if key != failed})
    assert [[video.name for video in result.videos] for result in results] == [['b'], ['b']]
    assert [result.left_out for result in results] == [('a',), ('a',)]
    assert made.results({}) == []


def test_mistakes_are_told(streets, small_video):
    video = streets.make('a', 1)
    with pytest.raises(UserError, match='at least one video'):
        plan([], [streets.iss])
    with pytest.raises(UserError, match='one pipeline'):
        plan([video], [])
    with pytest.raises(UserError, match='choose 0 to 100 %'):
        plan([video], [streets.iss], (1.5,))
    with pytest.raises(UserError, match='no frame'):
        plan([small_video(0)], [streets.iss])
