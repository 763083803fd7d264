"""Weathers and frame rates, as they are named and as videos are seen in them."""

from __future__ import annotations

import pytest

from vseg_ros.datasets.weather import WEATHERS, Weather
from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import (
    AS_RECORDED,
    Condition,
    combine,
    read_strides,
    read_weathers,
)

FOG = Weather('fog', 3)


def test_weathers_are_read_in_order_and_once():
    assert read_weathers('clean,fog:3, snow:5,fog,clean') == [None, FOG, Weather('snow', 5)]


def test_all_stands_for_every_weather():
    assert read_weathers('all') == [Weather(name, 3) for name in WEATHERS]
    assert read_weathers('clean,all:5')[1:] == [Weather(name, 5) for name in WEATHERS]


@pytest.mark.parametrize('text', ['', 'fog:', 'fog:6', 'fog:0', 'rain', 'clean:3', 'all:x',
                                  'fog,'])
def test_a_weather_that_is_none_ends_in_one_line(text):
    with pytest.raises(UserError) as caught:
        read_weathers(text)
    assert '1' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_strides_are_read_in_order_and_once():
    assert read_strides('1, 3,1,10') == [1, 3, 10]


@pytest.mark.parametrize('text', ['', '0', '-1', '1.5', 'two', '1,', '\N{SUPERSCRIPT TWO}'])
def test_a_stride_that_is_none_ends_in_one_line(text):
    with pytest.raises(UserError, match=r'--stride .* whole numbers from 1 on'):
        read_strides(text)


def test_all_weathers_of_a_stride_come_in_a_row():
    assert combine([None, FOG], [1, 3]) == [
        AS_RECORDED, Condition(FOG), Condition(stride=3), Condition(FOG, 3)]


@pytest.mark.parametrize(('condition', 'name', 'words'), [
    (AS_RECORDED, 'clean', 'clean, every frame'),
    (Condition(FOG, 3), 'fog:3', 'fog, severity 3, 1 frame in 3')])
def test_names(condition, name, words):
    assert condition.weather_name == name
    assert str(condition) == words
    assert read_weathers(condition.weather_name) == [condition.weather]


def test_as_recorded_is_the_video_itself(small_video):
    video = small_video(5)
    assert AS_RECORDED(video, 0) is video


def test_a_stride_keeps_count_and_stamps(small_video):
    seen = Condition(stride=3)(small_video(8, frame_count=8), 0)
    assert seen.frame_count == 3
    assert [item.frame.stamp for item in seen] == [0, 300_000_000, 600_000_000]
