"""Carrying a plan out: resumed from a folder, and with trials that fail."""

from __future__ import annotations

import logging

import pytest

from vseg_ros.errors import UserError
from vseg_ros.evaluation.carry_out import carry_out
from vseg_ros.evaluation.conditions import AS_RECORDED
from vseg_ros.evaluation.plan import make_plan
from vseg_ros.evaluation.results import results_dict
from vseg_ros.evaluation.run_folder import RunFolder
from vseg_ros.evaluation.trial import Failure, SetupError, Variant, run_here


@pytest.fixture
def plan(streets):
    for seed, name in enumerate('ab'):
        streets.make(name, seed)

    def make(variant=streets.iss):
        return make_plan([streets.open(name) for name in 'ab'], [variant], (0.1, 0.5),
                         (AS_RECORDED,), source='here', seed=0)
    return make


class Counting:
    """Runs here, and remembers which trials."""

    def __init__(self, stop_after=None):
        self.ran, self._stop_after = [], stop_after

    def __call__(self, trials, tick):
        for trial, outcome in run_here(trials, tick):
            self.ran.append(trial.title)
            yield trial, outcome
            if len(self.ran) == self._stop_after:
                raise KeyboardInterrupt


def test_a_stopped_run_goes_on_and_ends_with_the_same(plan, tmp_path):
    folder = tmp_path / 'kept'
    stopped = Counting(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        carry_out(plan(), stopped, folder=RunFolder(folder))
    rest = Counting()
    resumed = carry_out(plan(), rest, folder=RunFolder(folder))
    assert stopped.ran == ['iss on a', 'iss on a', 'iss on b']
    assert rest.ran == ['iss on b']
    again = carry_out(plan(), nothing := Counting(), folder=RunFolder(folder))
    assert nothing.ran == []
    assert results_dict(again.results) == results_dict(resumed.results)
    fresh = carry_out(plan())
    for one, other in zip(fresh.results, resumed.results, strict=True):
        for score in ('miou', 'wiou', 'flicker', 'still_flicker'):
            assert getattr(one.pipelines['iss'], score) == getattr(other.pipelines['iss'], score)
        assert [(sample.video, sample.index) for sample in one.samples] == [
            (sample.video, sample.index) for sample in other.samples]


def test_another_setting_finds_nothing(plan, streets, tmp_path):
    folder = RunFolder(tmp_path / 'kept')
    carry_out(plan(), folder=folder)
    other = Variant('iss', 'iss', streets.settings.model_copy(update={'input_size': 96}))
    carry_out(plan(other), again := Counting(), folder=folder)
    assert len(again.ran) == 4


def test_a_damaged_result_is_done_again_and_said(plan, tmp_path, caplog):
    folder = tmp_path / 'kept'
    before = carry_out(plan(), folder=RunFolder(folder))
    damaged = sorted(folder.glob('*.score'))[1]
    damaged.write_bytes(damaged.read_bytes()[:-7])
    with caplog.at_level(logging.WARNING):
        after = carry_out(plan(), again := Counting(), folder=RunFolder(folder))
    assert len(again.ran) == 1
    assert f'{damaged} is damaged: iss on a is done again' in caplog.text
    assert after.results[0].pipelines['iss'].miou == before.results[0].pipelines['iss'].miou


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / 'mine.txt').write_text('precious')
    for folder in (tmp_path, tmp_path / 'mine.txt'):
        with pytest.raises(UserError):
            RunFolder(folder)
    assert [path.name for path in tmp_path.iterdir()] == ['mine.txt']


def test_a_video_that_fails_does_not_stop_the_others(plan, streets):
    made = plan()
    (streets.root / 'a' / 'images' / '4.png').write_bytes(b'no image')
    evaluated = carry_out(made)
    assert len(evaluated.failures) == 2
    for trial, failure in evaluated.failures:
        assert trial.video.name == 'a'
        assert '4.png' in failure.reason
        assert not failure.details
    assert [result.left_out for result in evaluated.results] == [('a',)] * 2


def test_a_defect_is_a_failure_with_its_traceback(plan, monkeypatch):
    made = plan()
    monkeypatch.setattr(type(made.trials[0].video), '__iter__',
                        lambda self: iter([1 / 0]) if self.name == 'a' else iter(()))
    failures = [failure for _, failure in carry_out(made).failures]
    assert failures == [failures[0]] * 2
    assert isinstance(failures[0], Failure)
    assert 'ZeroDivisionError' in failures[0].reason
    assert 'Traceback' in failures[0].details


def test_a_pipeline_that_cannot_be_made_ends_everything(plan, streets):
    gone = Variant('iss', 'iss', streets.settings.model_copy(update={'segmenter': 'gone'}))
    with pytest.raises(SetupError, match="no weights named 'gone'"):
        carry_out(plan(gone))


def test_progress_counts_frames_and_trials(plan, tmp_path):
    ticks = []
    folder = RunFolder(tmp_path / 'kept')
    carry_out(plan(), folder=folder, progress=lambda *tick: ticks.append(tick))
    assert ticks[-1][:2] == (24, 24)
    assert [done for done, *_ in ticks] == sorted(done for done, *_ in ticks)
    assert ticks[0] == (1, 24, '0 of 4 done, iss on a')
    assert ticks[-1][2] == '4 of 4 done, iss on b'
