"""`vseg evaluate street --format street-questions`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vseg_ros.commands.evaluate import evaluate
from vseg_ros.commands.evaluate_street_questions import evaluate_street_command, held_out_clips
from vseg_ros.errors import UserError
from vseg_ros.frame import MaskTrack


class Reading:
    """Answers every second length of sentence with half of each frame, the others with nothing."""

    def __init__(self, settings):
        self.settings = settings

    def ask(self, frames, text):
        masks = np.zeros((len(frames), *frames[0].size), bool)
        masks[:, :, : frames[0].size[1] // 2] = len(text) % 2
        return MaskTrack(masks, tuple(each.stamp for each in frames), masks.any(axis=(1, 2)), 1.0)

    def follow(self):
        raise ValueError('nothing to follow')


def test_the_same_options_give_the_same_scores(tmp_path, capsys):
    told = []
    for run in ('a', 'b'):
        evaluate_street_command('street', clips=1, seed=2, json=tmp_path / run, create=Reading)
        told.append(json.loads((tmp_path / run).read_text()))
        for scores in told[-1]['pipelines'].values():
            scores.pop('fps')
    assert told[0] == told[1]
    assert (told[0]['source'], told[0]['clips'], told[0]['seed']) == ('street', 1, 2)
    assert list(told[0]['pipelines']) == ['virst', 'largest_moving', 'random_instance']
    counts = {key: value for key, value in told[0]['pipelines']['virst'].items()
              if key.startswith('expressions_')}
    assert sum(counts.values()) == told[0]['expressions']
    printed = capsys.readouterr().out
    assert 'J&F by kind' in printed
    assert 'largest moving' in ' '.join(printed.split())


def test_a_clip_is_five_frames_of_at_most_two_seconds_and_a_bit():
    clip = next(held_out_clips(1))
    steps = np.diff([frame.stamp for frame in clip.frames]) / 1e9
    assert len(clip.frames) == 5
    assert steps == pytest.approx(steps[0])
    assert 0.13 < steps[0] < 0.54
    assert clip.instances.shape == (5, *clip.frames[0].size)


@pytest.mark.parametrize(('options', 'line'), [
    ({'pipelines': 'iss'}, "'iss' does not answer sentences"),
    ({'pipelines': 'virst', 'clips': 0}, '--clips 0: choose 1 to 10000'),
    ({'pipelines': 'virst', 'clips': 10001}, 'they are trained on'),
    ({'pipelines': 'virst', 'weather': 'fog:3'}, '--weather does not apply to street-questions'),
    ({'pipelines': 'virst', 'split': 'val'}, '--split does not apply'),
    ({'pipelines': 'virst', 'param': ['weights=none']}, "no weights named 'none'")])
def test_mistakes_are_told(options, line):
    with pytest.raises(UserError, match=line):
        evaluate(['street'], format='street-questions', **options)


def test_other_sources_are_refused():
    with pytest.raises(UserError, match='write `vseg evaluate street --format street-questions`'):
        evaluate(['drive.mcap'], format='street-questions', pipelines='virst')
    with pytest.raises(UserError, match='--clips applies to street-questions'):
        evaluate(['street:3:20'], format='auto', clips=3)
