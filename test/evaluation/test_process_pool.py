"""Trials in processes: equal results, and workers that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from functools import partial

import numpy as np
import pytest

from vseg_ros.evaluation.carry_out import carry_out
from vseg_ros.evaluation.conditions import AS_RECORDED
from vseg_ros.evaluation.plan import make_plan
from vseg_ros.evaluation.process_pool import run_in_processes
from vseg_ros.evaluation.trial import SetupError, Variant


class Crash:
    """A video on whose arrival a process dies, as by a fault in a library."""

    name, path, label_set, frame_count = 'crash', None, None, 6

    def __reduce__(self):
        return os.abort, ()


def plan(videos, variant):
    return make_plan(videos, [variant], (0.1,), (AS_RECORDED,), source='here', seed=0)


def test_a_worker_that_dies_costs_at_most_its_own_trial(streets):
    good, killed = [streets.make('a', 1), streets.make('b', 2)], []
    made = plan([good[0], Crash(), good[1]], streets.iss)

    def tick(done, total, text):
        if text.endswith('iss on b') and not killed:
            killed.append(text)
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGKILL)

    threads = os.environ.get('OMP_NUM_THREADS')
    evaluated = carry_out(made, partial(run_in_processes, jobs=1), progress=tick)
    assert os.environ.get('OMP_NUM_THREADS') == threads
    assert not multiprocessing.active_children()
    # b, whose worker was killed, was tried again; the other video dies every time.
    assert killed
    (trial, failure), = evaluated.failures
    assert trial.video.name == 'crash'
    assert failure.reason == ('iss on crash failed: its process died 2 times, the last with '
                              'SIGABRT')
    here, = carry_out(plan(good, streets.iss)).results
    result, = evaluated.results
    assert result.videos == here.videos
    for score in ('miou', 'wiou', 'flicker', 'class_iou', 'timeline'):
        np.testing.assert_array_equal(getattr(result.pipelines['iss'], score),
                                      getattr(here.pipelines['iss'], score))


def test_a_pipeline_that_cannot_be_made_ends_everything(streets):
    gone = Variant('iss', 'iss', streets.settings.model_copy(update={'segmenter': 'gone'}))
    with pytest.raises(SetupError, match="no weights named 'gone'"):
        carry_out(plan([streets.make('a', 1)], gone), partial(run_in_processes, jobs=1))
    assert not multiprocessing.active_children()


def test_nothing_to_do_starts_no_process():
    assert list(run_in_processes([], lambda *_: None, jobs=4)) == []
