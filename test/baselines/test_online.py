"""The frame loop of TENT, CoTTA and AuxAdapt: states, freezing, seeds, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vseg_ros.baselines import learner as learner_module
from vseg_ros.baselines.learner import take_step
from vseg_ros.baselines.online import OnlinePipeline
from vseg_ros.frame import Frame
from vseg_ros.pipeline import PipelineState, SegmentationPipeline

ONLINE = ('tent', 'cotta', 'auxadapt')
QUICK = {'tent': {'tent.learning_rate': 0.05},
         'cotta': {'cotta.learning_rate': 0.02, 'cotta.largest_scale': 0.5, 'cotta.momentum': 0.5,
                   'cotta.restore': 0.5},
         'auxadapt': {'auxadapt.learning_rate': 0.05}}
New = Callable[..., SegmentationPipeline]
Video = Callable[..., list[Frame]]


@pytest.mark.parametrize('name', ONLINE)
def test_it_learns_in_the_warmup_and_then_never_again(name: str, new_pipeline: New,
                                                      video: Video) -> None:
    pipeline = new_pipeline(name, QUICK[name])
    assert isinstance(pipeline, OnlinePipeline)
    assert pipeline.status.state is PipelineState.WARMING_UP
    frames = video(8)
    answers = []
    for index, frame in enumerate(frames):
        (answer,) = pipeline.step(frame)
        assert (answer.stamp, answer.frame_id) == (frame.stamp, 'camera')
        assert answer.labels.shape == frame.size
        answers.append(answer)
        assert len(pipeline.history) == min(index + 1, 4)
        expected = PipelineState.WARMING_UP if index < 3 else PipelineState.FROZEN
        assert pipeline.status.state is expected
        assert pipeline.status.progress == min((index + 1) / 4, 1)
    again = [pipeline.step(frame)[0] for frame in frames]
    # frozen, a frame is answered alike however often it is shown
    for first, second in zip(answers[4:], again[4:], strict=True):
        assert np.array_equal(first.labels, second.labels)
        assert np.array_equal(first.confidence, second.confidence)
    assert not np.array_equal(answers[0].confidence, again[0].confidence)
    assert len(pipeline.history) == 4
    assert pipeline.finish() == []
    assert pipeline.status.message == ''


@pytest.mark.parametrize('name', ONLINE)
def test_one_seed_gives_one_answer(name: str, new_pipeline: New, video: Video) -> None:
    runs = []
    for seed in (0, 0, 1):
        pipeline = new_pipeline(name, {**QUICK[name], 'seed': seed})
        torch.manual_seed(np.random.default_rng().integers(1000))
        runs.append([pipeline.step(frame)[0].confidence for frame in video(6)])
    assert all(np.array_equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
    if name == 'cotta':
        assert not all(np.array_equal(a, b) for a, b in zip(runs[0], runs[2], strict=True))


def test_a_video_that_ends_in_the_warmup_says_so(new_pipeline: New, video: Video) -> None:
    pipeline = new_pipeline('tent')
    for frame in video(3):
        pipeline.step(frame)
    pipeline.finish()
    assert pipeline.status.state is PipelineState.WARMING_UP
    assert 'ended within the warm-up' in pipeline.status.message
    assert 'warmup.frames=N' in pipeline.status.message


def test_seconds_can_end_the_warmup(new_pipeline: New, video: Video) -> None:
    pipeline = new_pipeline('tent', {'warmup.frames': 0, 'warmup.seconds': 0.4})
    states = [(pipeline.step(frame), pipeline.status.state)[1] for frame in video(6)]
    assert [state is PipelineState.FROZEN for state in states] == 4 * [False] + 2 * [True]


def test_a_change_of_size_does_not_matter(new_pipeline: New, video: Video) -> None:
    pipeline = new_pipeline('tent')
    for frame in [*video(2), *video(3, (96, 128), 2)]:
        assert pipeline.step(frame)[0].labels.shape == frame.size
    assert pipeline.status.state is PipelineState.FROZEN


def test_numbers_that_are_not_finite_change_nothing() -> None:
    value = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([value], lr=0.1)
    assert not take_step(optimizer, value.sum() * float('nan'))
    # a finite loss with a slope that is not
    assert not take_step(optimizer, torch.sqrt(value - value.detach()).sum())
    assert torch.equal(value, torch.ones(2))
    assert take_step(optimizer, value.sum())
    assert not torch.equal(value, torch.ones(2))


def test_frames_that_were_not_learned_from_are_told(new_pipeline: New, video: Video) -> None:
    pipeline = new_pipeline('tent')
    assert isinstance(pipeline, OnlinePipeline)
    frames = video(5)
    pipeline.step(frames[0])
    weight = pipeline._learner.segmenter.decoder.head.batch_norm.weight  # type: ignore[union-attr]
    hook = weight.register_hook(lambda slope: slope * float('inf'))
    before = weight.detach().clone()
    pipeline.step(frames[1])
    assert torch.equal(weight, before)
    hook.remove()
    for frame in frames[2:]:
        pipeline.step(frame)
    assert pipeline.status.state is PipelineState.FROZEN
    assert '1 frames of the warm-up gave numbers that are not finite' in pipeline.status.message
    assert len(pipeline.history) == 3


def test_take_step_is_what_all_learners_use() -> None:
    from vseg_ros.baselines import auxadapt, cotta, tent
    assert all(module.take_step is learner_module.take_step for module in (auxadapt, cotta, tent))
