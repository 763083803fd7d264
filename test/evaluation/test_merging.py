"""Videos counted one by one and merged give the scores of one pass over all of them."""

from __future__ import annotations

import math
import statistics

import numpy as np

from vseg_ros.evaluation.conditions import AS_RECORDED
from vseg_ros.evaluation.confusion import ConfusionMatrix
from vseg_ros.evaluation.merging import merge_run, merge_videos
from vseg_ros.evaluation.scoring import VideoScorer
from vseg_ros.evaluation.video_consistency import LabelledConsistency
from vseg_ros.frame import Segmentation
from vseg_ros.labels import LabelSet

CLASSES = LabelSet.from_names(['road', 'sky', 'car'])
WARMUP = 3


def make_video(seed, frames, labelled):
    random = np.random.default_rng(seed)
    still = random.integers(0, 256, (6, 8, 3), np.uint8)
    video = []
    for index in range(frames):
        image = still.copy()
        image[:, 4:] = random.integers(0, 256, (6, 4, 3), np.uint8)
        predicted = np.where(random.random((6, 8)) < 0.1, 1, 0).astype(np.uint8)
        truth = np.where(random.random((6, 8)) < 0.2, 255, 0).astype(np.uint8)
        video.append((image, predicted, truth if labelled(index) else None,
                      float(random.random())))
    return video


VIDEOS = {'dense': make_video(1, 30, lambda index: True),
          'sparse': make_video(2, 25, lambda index: index % 9 == 4),
          'none': make_video(3, 12, lambda index: False)}


def score(name, video, samples=()):
    scorer = VideoScorer(CLASSES, samples)
    for index, (image, predicted, truth, seconds) in enumerate(video):
        answer = Segmentation(predicted, np.ones(predicted.shape, np.float32), CLASSES)
        scorer.add(image, answer, truth, seconds, scored=index >= WARMUP)
    return scorer.finish(name, WARMUP, CLASSES, [{'total': len(name)}], f'saw {name}')


def test_merged_scores_are_those_of_one_pass():
    merged = merge_videos([score(*video) for video in VIDEOS.items()])
    confusion, consistency = ConfusionMatrix(3), LabelledConsistency(3)
    seconds, flicker, timeline = [], [], []
    for video in VIDEOS.values():
        before = None
        for index, (image, predicted, truth, took) in enumerate(video):
            changed = float('nan') if before is None else float((predicted != before).mean())
            before = predicted
            timeline.append(changed)
            if index < WARMUP:
                continue
            seconds.append(took)
            flicker.append(changed)
            consistency.add(image, predicted, truth)
            if truth is not None:
                confusion.add(predicted, truth)
        consistency.end_video()
    # To the bit: no tolerance.
    assert (merged.miou, merged.wiou) == (confusion.miou(), confusion.wiou())
    assert (merged.mvc8, merged.mvc16) == (consistency.score(8), consistency.score(16))
    assert merged.fps == 1 / statistics.median(seconds)
    assert merged.flicker == statistics.fmean(flicker)
    np.testing.assert_array_equal(merged.timeline, timeline)
    assert merged.consistency == consistency.form == 'mixed'
    assert [step['total'] for step in merged.history] == [5, 6, 4]
    assert merged.messages == ('saw dense', 'saw sparse', 'saw none')
    assert 0 < merged.miou < 1
    assert 0 < merged.mvc16 < 1


def test_a_run_shows_the_frames_that_all_pipelines_kept():
    a = [score('dense', VIDEOS['dense'], [5, 9]), score('sparse', VIDEOS['sparse'], [20])]
    b = [score('dense', VIDEOS['dense'], [9]), score('sparse', VIDEOS['sparse'], [20, 24])]
    run = merge_run({'a': a, 'b': b}, source='both', seed=0, warmup_ratio=0.1,
                    condition=AS_RECORDED, left_out=['none'])
    assert [(sample.video, sample.index) for sample in run.samples] == [
        ('dense', 9), ('sparse', 20)]
    np.testing.assert_array_equal(run.samples[0].predictions['b'], VIDEOS['dense'][9][1])
    assert (run.frames, run.warmup, run.left_out) == (55, 6, ('none',))


def test_without_a_scored_frame_there_is_no_score():
    merged = merge_videos([score('short', VIDEOS['dense'][:2])])
    assert all(math.isnan(value) for value in (merged.miou, merged.fps, merged.flicker))
    assert merged.consistency is None
