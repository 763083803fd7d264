"""Means over the weathers of an evaluation."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

from vseg_ros.datasets.weather import Weather
from vseg_ros.evaluation.conditions import Condition
from vseg_ros.evaluation.protocol import evaluate
from vseg_ros.evaluation.results import Scores
from vseg_ros.evaluation.weather_mean import weather_means

FOG, SNOW = Weather('fog', 3), Weather('snow', 3)


@pytest.fixture
def result(small_video, seeing_pipeline):
    """Return an evaluation whose scores can be set by hand."""
    return evaluate([small_video(20)], {'a': lambda *_: seeing_pipeline(),
                                        'b': lambda *_: seeing_pipeline()}, 0.1, source='drive')


def scored(result, condition, value, ratio=0.1):
    """Give pipeline a every score `value`, and pipeline b ten times as much."""
    values = {field.name: value for field in fields(Scores)}
    tenfold = dict.fromkeys(values, 10 * value)
    return replace(result, condition=condition, warmup_ratio=ratio, pipelines={
        'a': replace(result.pipelines['a'], **values),
        'b': replace(result.pipelines['b'], **tenfold)})


def test_every_stride_and_ratio_has_its_mean_without_the_clean_run(result):
    runs = [scored(result, Condition(None, 1), 100), scored(result, Condition(FOG, 1), 1),
            scored(result, Condition(SNOW, 1), 3), scored(result, Condition(FOG, 3), 5),
            scored(result, Condition(SNOW, 3), 7), scored(result, Condition(FOG, 1), 9, 0.5),
            scored(result, Condition(SNOW, 1), 11, 0.5)]
    means = weather_means(runs)
    assert [mean.last for mean in means] == [runs[2], runs[4], runs[6]]
    for mean, expected in zip(means, (2, 6, 10), strict=True):
        for field in fields(Scores):
            assert getattr(mean.pipelines['a'], field.name) == expected
            assert getattr(mean.pipelines['b'], field.name) == 10 * expected


def test_one_weather_is_no_mean(result):
    assert weather_means([scored(result, Condition(), 1), scored(result, Condition(FOG), 2)]) == []


def test_what_one_weather_lacks_the_mean_lacks(result):
    runs = [scored(result, Condition(FOG), 1), scored(result, Condition(SNOW), math.nan)]
    assert math.isnan(weather_means(runs)[0].pipelines['a'].mvc16)
