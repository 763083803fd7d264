"""The Warm-up-then-Freeze protocol with small real pipelines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vseg_ros.datasets.weather import Weather
from vseg_ros.datasets.weather_source import WeatherSource
from vseg_ros.errors import UserError
from vseg_ros.evaluation.conditions import Condition
from vseg_ros.evaluation.protocol import evaluate, warmup_length
from vseg_ros.io.frame_source import LabelledFrame
from vseg_ros.labels import DRIVING
from vseg_ros.pipeline import PipelineState, PipelineStatus


@pytest.mark.parametrize(('frames', 'percent', 'expected'), [
    (61, 10, 6), (61, 25, 15), (61, 50, 30), (9, 10, 1), (100, 29, 29), (100, 100, 100)])
def test_warmup_length(frames, percent, expected):
    assert warmup_length(frames, percent / 100) == expected


def test_warmup_length_is_exact_for_every_percentage():
    for frames in range(1, 300):
        for percent in range(101):
            assert warmup_length(frames, percent / 100) == max(frames * percent // 100, 1)


def test_every_frame_is_seen_once_in_order(small_video, seeing_pipeline):
    made = []

    def factory(frames, warmup):
        made.append((frames, warmup, seeing_pipeline()))
        return made[-1][2]

    result = evaluate([small_video(20), small_video(30, 'other')], {'iss': factory}, 0.25,
                      source='two')
    assert [(frames, warmup) for frames, warmup, _ in made] == [(20, 5), (30, 7)]
    assert [pipeline.seen for _, _, pipeline in made] == [list(range(20)), list(range(30))]
    assert (result.frames, result.warmup, result.full_video) == (50, 12, False)


def test_truth_scores_one_and_flicker_costs(small_video, seeing_pipeline):
    result = evaluate(
        [small_video(30)],
        {'truth': lambda *_: seeing_pipeline(), 'unsteady': lambda *_: seeing_pipeline(0)},
        0.1, source='drive')
    truth, unsteady = result.pipelines.values()
    assert list(result.pipelines) == ['truth', 'unsteady']
    assert (truth.miou, truth.wiou, truth.mvc8, truth.mvc16) == (1, 1, 1, 1)
    assert truth.class_iou == (1, 1, 1)
    assert (truth.flicker, truth.still_flicker) == (0, 0)
    assert unsteady.miou < 0.6
    assert (unsteady.mvc8, unsteady.flicker, unsteady.still_flicker) == (0, 1, 1)
    assert truth.fps > 0


def test_the_warmup_is_not_scored(small_video, seeing_pipeline):
    class Learner(seeing_pipeline):
        """Wrong during the warm-up, right afterwards."""

        def __init__(self, warmup):
            super().__init__()
            self._warmup = warmup

        def step(self, frame):
            early = len(self.seen) < self._warmup
            answer = super().step(frame)[0]
            labels = (answer.labels + 1) % 3 if early else answer.labels
            return [type(answer)(labels, answer.confidence, answer.label_set, answer.stamp)]

    result = evaluate([small_video(40)], {'learner': lambda _, warmup: Learner(warmup)}, 0.25,
                      source='drive')
    learner = result.pipelines['learner']
    assert (learner.miou, learner.mvc16) == (1, 1)
    assert len(learner.timeline) == 40
    assert np.nanargmax(learner.timeline) == result.warmup == 10


def test_full_video_adapts_on_all_frames_and_then_scores_all(small_video, seeing_pipeline):
    made = []

    def factory(frames, warmup):
        assert (frames, warmup) == (20, 20)
        made.append(seeing_pipeline())
        return made[0]

    ticks = []
    result = evaluate([small_video(20)], {'ditta': factory}, 1.0, source='drive',
                      progress=lambda *tick: ticks.append(tick))
    assert len(made) == 1
    assert made[0].seen == [*range(20), *range(20)]
    assert result.full_video
    assert len(result.pipelines['ditta'].timeline) == 20
    assert result.pipelines['ditta'].mvc16 == 1
    assert [tick[:2] for tick in ticks] == [(i + 1, 40) for i in range(40)]
    assert ticks[0][2] == 'ditta adapts to drive'
    assert ticks[-1][2] == 'ditta on drive'


def test_full_video_scores_only_the_second_showing(small_video, seeing_pipeline):
    class Learner(seeing_pipeline):
        def step(self, frame):
            early = len(self.seen) < 20
            answer = super().step(frame)[0]
            labels = (answer.labels + 1) % 3 if early else answer.labels
            return [type(answer)(labels, answer.confidence, answer.label_set, answer.stamp)]

    result = evaluate([small_video(20)], {'ditta': lambda *_: Learner()}, 1.0, source='drive')
    assert result.pipelines['ditta'].miou == 1


@pytest.mark.parametrize('clip', [4, 7])
@pytest.mark.parametrize('ratio', [0.1, 1.0])
def test_a_pipeline_may_answer_by_the_clip(small_video, seeing_pipeline, clip, ratio):
    pipelines = {'frame': lambda *_: seeing_pipeline(),
                 'clip': lambda *_: seeing_pipeline(None, clip)}
    result = evaluate([small_video(30)], pipelines, ratio, source='drive')
    frame, clipped = result.pipelines.values()
    assert clipped.miou == frame.miou == 1
    assert len(clipped.timeline) == 30
    assert clipped.fps > 0


def test_consistency_averages_the_windows_of_all_videos(small_video, seeing_pipeline):
    # 11 scored frames give 3 windows of 8, and 18 give 10: together 3 steady ones of 13.
    pipelines = iter([seeing_pipeline(), seeing_pipeline(0)])
    result = evaluate([small_video(12), small_video(20, 'other')],
                      {'iss': lambda *_: next(pipelines)}, 0.1, source='two')
    assert result.warmup == 3
    assert result.pipelines['iss'].mvc8 == pytest.approx(3 / 13)
    assert math.isnan(result.pipelines['iss'].timeline[12])


def test_without_labels_flicker_is_still_measured(small_video, seeing_pipeline):
    result = evaluate([small_video(20, labelled=False)],
                      {'iss': lambda *_: seeing_pipeline(0)}, 0.1, source='drive')
    iss = result.pipelines['iss']
    assert all(math.isnan(score) for score in (iss.miou, iss.wiou, iss.mvc8, iss.mvc16))
    assert iss.flicker == 1
    assert result.samples[0].labels is None


class SparselyLabelled:
    """A video of which only some frames are labelled, as in Cityscapes' sequences."""

    name, label_set, path = 'drive', None, None

    def __init__(self, video, frames, labelled):
        self._video, self.frame_count, self._labelled = video, frames, labelled

    def __iter__(self):
        for index, item in enumerate(self._video):
            yield LabelledFrame(item.frame, item.labels if index in self._labelled else None)


def test_a_sparsely_labelled_video_is_scored_from_its_labelled_frames(small_video,
                                                                     seeing_pipeline):
    video = SparselyLabelled(small_video(30), 30, {19})
    result = evaluate([video], {'truth': lambda *_: seeing_pipeline(),
                                'late': lambda *_: seeing_pipeline(24),
                                'unsteady': lambda *_: seeing_pipeline(0)}, 0.1, source='drive')
    truth, late, unsteady = result.pipelines.values()
    assert {pipeline.consistency for pipeline in result.pipelines.values()} == {'sparse'}
    # `late` is right at frame 19, and first wrong at frame 25, in the window of 8.
    assert (truth.miou, late.miou) == (1, 1)
    assert unsteady.miou < 0.6
    assert (truth.mvc8, late.mvc8, unsteady.mvc8) == (1, 0, 0)
    # The frames 19 to 34 of the window of 16 are not all there.
    assert math.isnan(truth.mvc16)


def test_the_form_of_mvc_is_that_of_the_scored_frames(small_video, seeing_pipeline):
    def form(labelled):
        video = SparselyLabelled(small_video(20), 20, labelled)
        result = evaluate([video], {'iss': lambda *_: seeing_pipeline()}, 0.1, source='drive')
        return result.pipelines['iss'].consistency

    assert form(set(range(20))) == 'dense'
    assert form(set(range(2, 20))) == 'dense'
    assert form(set(range(20)) - {10}) == 'sparse'
    assert form({0, 1}) is None
    assert form(set()) is None


def test_weather_first_and_stride_second(small_video, seeing_pipeline):
    seen = []

    class Watcher(seeing_pipeline):
        def step(self, frame):
            seen.append(frame)
            return super().step(frame)

    fog = Weather('fog', 3)
    result = evaluate([small_video(20, frame_count=20)], {'iss': lambda *_: Watcher()}, 0.25,
                      source='drive', seed=5, condition=Condition(fog, 3))
    assert (result.frames, result.warmup) == (7, 1)
    assert result.condition == Condition(fog, 3)
    whole = [item.frame for item in WeatherSource(small_video(20), fog, 5)]
    assert [frame.stamp for frame in seen] == [frame.stamp for frame in whole[::3]]
    for frame, expected in zip(seen, whole[::3], strict=True):
        np.testing.assert_array_equal(frame.image, expected.image)
    assert not np.array_equal(seen[1].image, next(iter(small_video(1))).frame.image)
    for sample in result.samples:
        np.testing.assert_array_equal(sample.image, whole[3 * sample.index].image)


def test_a_video_shorter_than_its_windows_scores_without_consistency(small_video,
                                                                     seeing_pipeline):
    result = evaluate([small_video(10)], {'iss': lambda *_: seeing_pipeline()}, 0.1, source='a')
    iss = result.pipelines['iss']
    assert (iss.miou, iss.mvc8) == (1, 1)
    assert math.isnan(iss.mvc16)


def test_a_video_that_is_all_warmup_has_no_score(small_video, seeing_pipeline):
    result = evaluate([small_video(1)], {'iss': lambda *_: seeing_pipeline()}, 0.5, source='a')
    iss = result.pipelines['iss']
    assert all(math.isnan(value) for value in (iss.miou, iss.fps, iss.flicker))
    assert result.samples == ()


def test_a_wrong_count_of_frames_is_put_right(small_video, seeing_pipeline):
    result = evaluate([small_video(20, frame_count=24)],
                      {'a': lambda *_: seeing_pipeline(), 'b': lambda *_: seeing_pipeline()},
                      0.25, source='drive')
    assert result.frames == 20
    assert [len(pipeline.timeline) for pipeline in result.pipelines.values()] == [20, 20]
    assert result.pipelines['a'].mvc8 == result.pipelines['b'].mvc8 == 1


def test_samples_are_evenly_spaced_and_hold_every_pipeline(small_video, seeing_pipeline):
    result = evaluate(
        [small_video(22)],
        {'truth': lambda *_: seeing_pipeline(), 'unsteady': lambda *_: seeing_pipeline(0)},
        0.1, source='drive', samples=4)
    assert [sample.index for sample in result.samples] == [4, 9, 14, 19]
    for sample in result.samples:
        np.testing.assert_array_equal(sample.predictions['truth'], sample.labels)
        assert not sample.changed['truth'].any()
        assert (sample.changed['unsteady'] == 255).all()


def test_losses_and_messages_of_the_adaptation_are_kept(small_video, seeing_pipeline):
    def factory(*_):
        pipeline = seeing_pipeline()
        pipeline.history = [{'total': 2.0}, {'total': 1.0}]
        pipeline.status = PipelineStatus(PipelineState.FROZEN, message='nothing to track')
        return pipeline

    result = evaluate([small_video(9), small_video(9, 'other')], {'ditta': factory}, 0.1,
                      source='two')
    assert [step['total'] for step in result.pipelines['ditta'].history] == [2, 1, 2, 1]
    assert result.pipelines['ditta'].messages == ('nothing to track',)


def test_labels_of_another_size(small_video, seeing_pipeline):
    class Wrong:
        name, label_set, frame_count, path = 'drive', None, None, None

        def __iter__(self):
            for item in small_video(3):
                yield LabelledFrame(item.frame, item.labels[:6, :8])

    with pytest.raises(UserError, match=r'frame 0 of drive has labels of 8x6 pixels .* 16x12'):
        evaluate([Wrong()], {'iss': lambda *_: seeing_pipeline()}, 0.1, source='drive')


def test_labels_of_other_classes(small_video, seeing_pipeline):
    video = small_video(3)
    video.label_set = DRIVING
    with pytest.raises(UserError, match=r'15 classes .* but iss predicts 3'):
        evaluate([video], {'iss': lambda *_: seeing_pipeline()}, 0.1, source='drive')


@pytest.mark.parametrize('ratio', [-0.1, 1.5, math.nan])
def test_a_ratio_out_of_range(small_video, seeing_pipeline, ratio):
    with pytest.raises(UserError, match='choose 0 to 100 %'):
        evaluate([small_video(3)], {'iss': lambda *_: seeing_pipeline()}, ratio, source='drive')


def test_nothing_to_evaluate(small_video, seeing_pipeline):
    factory = {'iss': lambda *_: seeing_pipeline()}
    with pytest.raises(UserError, match='at least one video'):
        evaluate([], factory, 0.1, source='none')
    with pytest.raises(UserError, match='one pipeline'):
        evaluate([small_video(3)], {}, 0.1, source='drive')
    with pytest.raises(UserError, match='drive has no frame'):
        evaluate([small_video(0)], factory, 0.1, source='drive')


def test_a_pipeline_that_loses_frames_is_a_defect(small_video, seeing_pipeline):
    class Lossy(seeing_pipeline):
        def step(self, frame):
            answers = super().step(frame)
            return answers if len(self.seen) != self.lost else []

    for lost, message in ((2, 'out of order'), (5, 'unanswered')):
        Lossy.lost = lost
        with pytest.raises(RuntimeError, match=message):
            evaluate([small_video(5)], {'lossy': lambda *_: Lossy()}, 0.1, source='drive')
