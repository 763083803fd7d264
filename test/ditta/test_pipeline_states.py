"""The pipeline over a real, tiny segmenter and the flow tracker: its states and its bad days."""

from __future__ import annotations

import copy
import gc
import logging
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from vseg_ros.ditta import pipeline as ditta_pipeline
from vseg_ros.ditta.pipeline import DittaPipeline
from vseg_ros.errors import UserError
from vseg_ros.frame import BoolArray, Frame, Segmentation
from vseg_ros.models.flow_tracker import FlowSession, FlowTracker
from vseg_ros.models.image_pipeline import ImagePipeline
from vseg_ros.models.loading import write_segmenter
from vseg_ros.models.segmenter import Decoded, Features, ImageSegmenter
from vseg_ros.pipeline import PipelineState
from vseg_ros.settings import DittaSettings

WARMING_UP, ADAPTING, FROZEN = (PipelineState.WARMING_UP, PipelineState.ADAPTING,
                                PipelineState.FROZEN)
BACKGROUND = {'adaptation.background': True}
WAIT = 60

NewPipeline = Callable[..., DittaPipeline]
Video = Callable[..., list[Frame]]


def show(pipeline: DittaPipeline, frames: list[Frame]) -> list[Segmentation]:
    """Step through the frames; each must give its own segmentation."""
    results = []
    for frame in frames:
        result, = pipeline.step(frame)
        assert (result.stamp, result.frame_id) == (frame.stamp, frame.frame_id)
        assert result.labels.shape == result.confidence.shape == frame.size
        assert 0 <= result.confidence.min() <= result.confidence.max() <= 1
        assert result.label_set is pipeline.label_set
        results.append(result)
    return results


def same(first: list[Segmentation], second: list[Segmentation]) -> bool:
    return all(np.array_equal(a.labels, b.labels) and np.array_equal(a.confidence, b.confidence)
               for a, b in zip(first, second, strict=True))


@pytest.fixture
def plain(new_settings: Callable[..., DittaSettings], new_pipeline: NewPipeline,
          ) -> Callable[[list[Frame]], list[Segmentation]]:
    """What the plain segmenter says of frames."""
    def segment(frames: list[Frame]) -> list[Segmentation]:
        pipeline = ImagePipeline(new_settings())
        return [pipeline.step(frame)[0] for frame in frames]
    return segment


class GatedTracker(FlowTracker):
    """Waits in its first session until it is let go; notes when it is released."""

    def __init__(self) -> None:
        self.entered, self.gate = threading.Event(), threading.Event()
        self.released = 0

    def open(self) -> FlowSession:
        self.entered.set()
        assert self.gate.wait(WAIT)
        return super().open()

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> list[GatedTracker]:
    """Every tracker that pipelines make, in order."""
    trackers: list[GatedTracker] = []

    def create(name: str, device: str, precision: str) -> GatedTracker:
        trackers.append(GatedTracker())
        return trackers[-1]
    monkeypatch.setattr(ditta_pipeline, 'create_tracker', create)
    return trackers


def wait_for_adaptation(gated: list[GatedTracker]) -> None:
    """Let the background thread run to its end."""
    gated[-1].gate.set()
    for thread in threading.enumerate():
        if thread.name == 'ditta-adaptation':
            thread.join(WAIT)
            assert not thread.is_alive()


def test_states_of_a_replay(new_pipeline: NewPipeline, video: Video,
                            plain: Callable[[list[Frame]], list[Segmentation]]) -> None:
    frames, pipeline = video(8), new_pipeline()
    states, results = [], []
    for frame in frames:
        results += show(pipeline, [frame])
        states.append((pipeline.status.state, pipeline.status.progress))
    assert states == [(WARMING_UP, 0.25), (WARMING_UP, 0.5), (WARMING_UP, 0.75),
                      *[(FROZEN, 1.0)] * 5]
    assert pipeline.status.message == ''
    assert pipeline.finish() == []
    expected = plain(frames)
    assert same(results[:4], expected[:4])
    assert not any(same([a], [b]) for a, b in zip(results[4:], expected[4:], strict=True))
    assert len(pipeline.history) == 8


def test_warmup_by_seconds_of_the_video(new_pipeline: NewPipeline, video: Video) -> None:
    pipeline = new_pipeline({'warmup.frames': 0, 'warmup.seconds': 0.4})
    show(pipeline, video(3))
    assert pipeline.status.state is WARMING_UP
    assert pipeline.status.progress == pytest.approx(0.5)
    show(pipeline, video(1, start=3))
    assert pipeline.status.state is WARMING_UP
    show(pipeline, video(1, start=4))
    assert pipeline.status.state is FROZEN


def test_a_long_warmup_keeps_few_frames(new_pipeline: NewPipeline, video: Video) -> None:
    pipeline = new_pipeline({'warmup.frames': 11, 'warmup.max_frames': 4})
    show(pipeline, video(11))
    assert pipeline.status.state is FROZEN
    assert len(pipeline.history) == 2 * 3  # frames 0, 4 and 8, twice


@pytest.mark.parametrize(('tau', 'learns'), [(0.0, False), (0.8, True)])
def test_an_add_on_that_is_never_asked_does_not_teach_the_decoder(
        tau: float, learns: bool, new_pipeline: NewPipeline, video: Video) -> None:
    pipeline = new_pipeline({'fusion.tau': tau})
    show(pipeline, video(5))
    assert pipeline.history
    assert any('distill_addon' in step for step in pipeline.history) is learns


def test_two_runs_with_one_seed_are_identical(new_pipeline: NewPipeline, video: Video) -> None:
    frames, runs, histories = video(8), [], []
    for seed in (3, 3, 4):
        torch.rand(seed)  # what was drawn before must not matter
        pipeline = new_pipeline({'seed': seed})
        runs.append(show(pipeline, frames))
        histories.append(pipeline.history)
    assert same(runs[0], runs[1])
    assert histories[0] == histories[1] != histories[2]


def test_random_numbers_of_the_caller_are_left_alone(new_pipeline: NewPipeline, video: Video,
                                                     ) -> None:
    pipeline = new_pipeline()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    show(pipeline, video(5))
    assert torch.equal(torch.rand(3), expected)


def test_frames_keep_flowing_while_it_adapts_in_the_background(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker],
        plain: Callable[[list[Frame]], list[Segmentation]]) -> None:
    frames, pipeline = video(10), new_pipeline(BACKGROUND)
    results = show(pipeline, frames[:4])
    assert gated[0].entered.wait(WAIT)
    assert pipeline.status.state is ADAPTING
    results += show(pipeline, frames[4:7])
    assert pipeline.status.state is ADAPTING
    with pytest.raises(UserError, match='nothing was adapted yet'):
        pipeline.save(Path('never'))
    wait_for_adaptation(gated)
    # nothing changes before the next frame
    assert (pipeline.status.state, pipeline.status.progress) == (ADAPTING, 1)
    results += show(pipeline, frames[7:])
    assert pipeline.status.state is FROZEN
    assert same(results[:7], plain(frames[:7]))
    assert not same(results[7:8], plain(frames[7:8]))


def test_background_and_replay_learn_the_same(new_pipeline: NewPipeline, video: Video,
                                              gated: list[GatedTracker]) -> None:
    frames, live = video(8), new_pipeline(BACKGROUND)
    show(live, frames[:4])
    wait_for_adaptation(gated)
    replay = new_pipeline()
    gated[-1].gate.set()
    show(replay, frames[:4])
    assert same(show(live, frames[4:]), show(replay, frames[4:]))


def test_tracker_is_released_and_gone_after_the_warmup(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker]) -> None:
    pipeline = new_pipeline()
    tracker = gated.pop()
    tracker.gate.set()
    show(pipeline, video(3))
    assert tracker.released == 0
    show(pipeline, video(1, start=3))
    assert tracker.released == 1
    reference = weakref.ref(tracker)
    del tracker
    gc.collect()
    assert reference() is None


def test_warmup_is_gone_once_it_is_frozen(new_pipeline: NewPipeline, video: Video,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, frames = new_pipeline(), video(4)
    runtime = pipeline._labeller.runtime
    infer, kept = runtime.infer_with_features, [weakref.ref(frame.image) for frame in frames]

    def watched(image: NDArray[np.uint8]) -> tuple[Decoded, Features]:
        decoded, features = infer(image)
        kept.extend(weakref.ref(feature) for feature in features)
        return decoded, features

    still_there: list[int] = []

    def give_back() -> None:
        gc.collect()
        # the frame that is being shown is not gone yet
        still_there.append(sum(reference() is not None for reference in kept[4:4 + 3 * 4]))
    monkeypatch.setattr(runtime, 'infer_with_features', watched)
    monkeypatch.setattr(ditta_pipeline, 'give_back_freed_memory', give_back)
    show(pipeline, frames[:3])
    gc.collect()
    assert len(kept) == 4 + 3 * 4
    assert all(reference() is not None for reference in kept)
    show(pipeline, frames[3:])
    assert pipeline.status.state is FROZEN
    assert still_there == [0], 'the system gets the memory of the warm-up back once it is free'
    del frames
    gc.collect()
    assert [reference for reference in kept if reference() is not None] == []


def test_memory_is_flat_over_a_long_stream(new_pipeline: NewPipeline, video: Video) -> None:
    def use() -> tuple[int, int]:
        gc.collect()
        tensors = sum(type(entry) is torch.Tensor for entry in gc.get_objects())
        return tensors, tracemalloc.get_traced_memory()[0]
    pipeline, frames = new_pipeline(), video(6)
    show(pipeline, frames)
    tracemalloc.start()
    try:
        show(pipeline, frames)
        tensors, size = use()
        for _ in range(3):
            show(pipeline, frames)
        more_tensors, larger = use()
    finally:
        tracemalloc.stop()
    assert more_tensors <= tensors
    assert larger - size < frames[0].image.nbytes


@pytest.mark.parametrize('shown', [2, 6])
def test_adapting_again_starts_from_the_plain_segmenter(
        new_pipeline: NewPipeline, video: Video, shown: int) -> None:
    """At any time: within the warm-up and after it."""
    frames, fresh, pipeline = video(8), new_pipeline(), new_pipeline()
    expected = show(fresh, frames)
    show(pipeline, frames[:shown])
    pipeline.adapt()
    assert (pipeline.status.state, pipeline.status.progress) == (WARMING_UP, 0)
    with pytest.raises(UserError, match='nothing was adapted yet'):
        pipeline.save(Path('never'))
    assert same(show(pipeline, frames), expected)
    assert pipeline.history == fresh.history


def test_adapting_again_while_adapting_stops_the_first(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker]) -> None:
    frames, pipeline = video(6), new_pipeline(BACKGROUND)
    show(pipeline, frames[:4])
    assert gated[0].entered.wait(WAIT)
    threading.Timer(0.1, gated[0].gate.set).start()
    pipeline.adapt()
    assert gated[0].released == 1
    assert (pipeline.status.state, pipeline.status.progress) == (WARMING_UP, 0)
    assert not pipeline.history
    show(pipeline, frames[:4])
    wait_for_adaptation(gated)
    show(pipeline, frames[4:])
    assert pipeline.status.state is FROZEN
    assert len(gated) == 2


def test_saved_weights_start_frozen_with_the_same_labels(
        new_pipeline: NewPipeline, video: Video, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'street.safetensors'
    pipeline = new_pipeline()
    show(pipeline, video(4))
    pipeline.save(path)
    monkeypatch.delattr(ditta_pipeline, 'create_tracker')  # a robot that starts FROZEN needs none
    loaded = new_pipeline({'adapted_weights': str(path)})
    assert (loaded.status.state, loaded.status.message) == (FROZEN, '')
    assert same(show(pipeline, video(4, start=4)), show(loaded, video(4, start=4)))
    again = tmp_path / 'again.safetensors'
    loaded.save(again)
    assert again.stat().st_size == path.stat().st_size
    for name, value in load_file(path).items():
        assert torch.equal(load_file(again)[name], value)


def test_weights_of_another_segmenter_are_refused(
        new_pipeline: NewPipeline, video: Video, tmp_path: Path,
        tiny_segmenter: Callable[..., ImageSegmenter]) -> None:
    path, other = tmp_path / 'street.safetensors', tmp_path / 'other.safetensors'
    pipeline = new_pipeline()
    show(pipeline, video(4))
    pipeline.save(path)
    write_segmenter(tiny_segmenter(seed=9), other, 'tiny')
    with pytest.raises(UserError, match='belongs to the segmenter'):
        new_pipeline({'adapted_weights': str(path), 'segmenter': str(other)})


def test_nothing_reliable_leaves_the_plain_segmenter(
        new_pipeline: NewPipeline, video: Video, tiny_segmenter: Callable[..., ImageSegmenter],
        tmp_path: Path) -> None:
    segmenter, path = tiny_segmenter(), tmp_path / 'ignorant.safetensors'
    with torch.no_grad():
        segmenter.decoder.head.classifier.weight.zero_()
    write_segmenter(segmenter, path, 'tiny')
    pipeline = new_pipeline({'segmenter': str(path)})
    results = show(pipeline, video(6))
    assert pipeline.status.state is FROZEN
    assert 'reliable enough' in pipeline.status.message
    assert 'plain segmenter runs on' in pipeline.status.message
    assert all((result.confidence == 0).all() for result in results)


def test_numbers_that_are_not_finite_are_rolled_back(
        new_pipeline: NewPipeline, video: Video, monkeypatch: pytest.MonkeyPatch,
        plain: Callable[[list[Frame]], list[Segmentation]]) -> None:
    """The features of one warm-up frame are broken: not one pass is good."""
    pipeline = new_pipeline()
    runtime = pipeline._labeller.runtime
    infer = runtime.infer_with_features
    count = 0

    def broken(image: NDArray[np.uint8]) -> tuple[Decoded, Features]:
        nonlocal count
        count += 1
        decoded, features = infer(image)
        return decoded, (*features[:-1], features[-1] * float('nan' if count == 3 else 1))
    monkeypatch.setattr(runtime, 'infer_with_features', broken)
    monkeypatch.setattr(runtime, 'infer', lambda image: infer(image)[0])
    show(pipeline, video(4))
    assert pipeline.status.state is FROZEN
    assert 'last good pass' in pipeline.status.message
    # the add-on has not learned, but the decoder is the plain one
    frame = video(1, start=6)
    assert same(show(pipeline, frame), plain(frame))


class FailingSession(FlowSession):
    def track(self, index: int) -> dict[int, BoolArray]:
        raise RuntimeError('the device is lost')


@pytest.mark.parametrize('background', [False, True])
def test_a_tracker_that_fails_leaves_the_plain_segmenter(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker],
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, background: bool,
        plain: Callable[[list[Frame]], list[Segmentation]]) -> None:
    monkeypatch.setattr(GatedTracker, 'open', lambda self: FailingSession())
    frames, pipeline = video(7), new_pipeline({'adaptation.background': background})
    with caplog.at_level(logging.WARNING):
        results = show(pipeline, frames[:4])
        wait_for_adaptation(gated)
        results += show(pipeline, frames[4:])
    assert pipeline.status.state is FROZEN
    assert 'the device is lost' in pipeline.status.message
    assert 'plain segmenter runs on' in pipeline.status.message
    assert pipeline.status.message in caplog.messages
    assert gated[0].released == 1
    assert same(results, plain(frames))


def adapt_again(pipeline: DittaPipeline, video: Video, gated: list[GatedTracker]) -> None:
    """With enough memory it learns, and nothing of the failure is left."""
    pipeline.history.clear()
    pipeline.adapt()
    gated[-1].gate.set()
    show(pipeline, video(4, start=7))
    wait_for_adaptation(gated)
    show(pipeline, video(1, start=11))
    assert (pipeline.status.state, pipeline.status.message) == (FROZEN, '')
    assert pipeline.history


def full_memory(*_: object, **__: object) -> None:
    raise torch.cuda.OutOfMemoryError('CUDA out of memory.\nTried to allocate 2 GiB')


@pytest.mark.parametrize('background', [False, True])
@pytest.mark.parametrize('place', ['DittaModel', 'AdamW.step', 'FlowSession.track'])
def test_want_of_memory_costs_the_adaptation_alone(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker],
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str,
        background: bool, plain: Callable[[list[Frame]], list[Segmentation]]) -> None:
    """As the GPU's memory ends while a model is made, while it learns, or while it is taught."""
    frames, pipeline = video(7), new_pipeline({'adaptation.background': background})
    expected = plain(frames)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        owner, name = {'DittaModel': (ditta_pipeline, 'DittaModel'),
                       'AdamW.step': (torch.optim.AdamW, 'step'),
                       'FlowSession.track': (FlowSession, 'track')}[place]
        patch.setattr(owner, name, full_memory)
        gated[0].gate.set()
        results = show(pipeline, frames[:4])
        wait_for_adaptation(gated)
        results += show(pipeline, frames[4:])
    assert same(results, expected)
    assert pipeline.status.state is FROZEN
    assert pipeline.status.message == (
        'the adaptation failed: out of memory (CUDA out of memory. Tried to allocate 2 GiB): '
        'lower input_size, prompts.max_objects or warmup.max_frames, or take a smaller segmenter '
        'or tracker; the plain segmenter runs on')
    assert [record.exc_info for record in caplog.records] == [None], 'one line, no traceback'
    assert gated[0].released == 1
    adapt_again(pipeline, video, gated)


@pytest.mark.parametrize('background', [False, True])
def test_want_of_memory_at_the_swap_leaves_the_plain_segmenter(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker],
        monkeypatch: pytest.MonkeyPatch, background: bool,
        plain: Callable[[list[Frame]], list[Segmentation]]) -> None:
    frames, pipeline = video(7), new_pipeline({'adaptation.background': background})
    with monkeypatch.context() as patch:
        patch.setattr(ditta_pipeline, 'create_fusion', full_memory)
        gated[0].gate.set()
        results = show(pipeline, frames[:4])
        wait_for_adaptation(gated)
        results += show(pipeline, frames[4:])
    assert same(results, plain(frames))
    assert pipeline.status.state is FROZEN
    assert 'out of memory' in pipeline.status.message
    with pytest.raises(UserError, match='nothing was adapted'):
        pipeline.save(Path('never.safetensors'))
    adapt_again(pipeline, video, gated)


def test_a_tracker_that_is_gone_costs_nothing_that_was_learned(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker],
        monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UserError('there is no tracker here')

    frames, pipeline = video(8), new_pipeline()
    gated[0].gate.set()
    show(pipeline, frames[:5])
    expected = copy.deepcopy(pipeline)
    monkeypatch.setattr(ditta_pipeline, 'create_tracker', refuse)
    with pytest.raises(UserError, match='no tracker here'):
        pipeline.adapt()
    assert pipeline.status.state is FROZEN
    assert same(show(pipeline, frames[5:]), show(expected, frames[5:]))


def test_images_without_stamps_are_complained_about(new_pipeline: NewPipeline, video: Video,
                                                    ) -> None:
    pipeline = new_pipeline({'warmup.frames': 0, 'warmup.seconds': 1.0})
    show(pipeline, [replace(frame, stamp=0) for frame in video(40)])
    assert pipeline.status.state is WARMING_UP
    assert 'set warmup.frames' in pipeline.status.message


@pytest.mark.parametrize(('pause', 'forgotten'), [(1.9, False), (2.1, True), (-0.1, True)])
def test_a_pause_or_a_step_back_forgets_the_frame_before(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker], pause: float,
        forgotten: bool) -> None:
    frames, pipeline = video(7), new_pipeline()
    gated[0].gate.set()
    show(pipeline, frames[:6])
    later = replace(frames[6], stamp=frames[5].stamp + round(pause * 1e9))
    alone = copy.deepcopy(pipeline)
    assert alone._fusion is not None
    alone._fusion.forget()
    assert same(show(pipeline, [later]), show(alone, [later])) is forgotten


def test_a_video_within_the_warmup_says_so(new_pipeline: NewPipeline, video: Video) -> None:
    pipeline = new_pipeline()
    show(pipeline, video(3))
    assert pipeline.finish() == []
    assert pipeline.status.state is WARMING_UP
    assert 'ended within the warm-up' in pipeline.status.message


def test_the_end_of_the_video_stops_an_adaptation(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker]) -> None:
    pipeline = new_pipeline(BACKGROUND)
    show(pipeline, video(5))
    threading.Timer(0.1, gated[0].gate.set).start()
    assert pipeline.finish() == []
    assert pipeline.status.state is FROZEN
    assert 'stopped before its end' in pipeline.status.message
    assert not any(thread.name == 'ditta-adaptation' for thread in threading.enumerate())


def test_what_was_learned_by_the_end_of_the_video_can_be_saved(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker],
        tmp_path: Path) -> None:
    pipeline = new_pipeline(BACKGROUND)
    show(pipeline, video(4))
    wait_for_adaptation(gated)
    pipeline.finish()
    assert (pipeline.status.state, pipeline.status.message) == (FROZEN, '')
    pipeline.save(tmp_path / 'street.safetensors')
    assert (tmp_path / 'street.safetensors').stat().st_size < 1e6


WIDE = 64, 128


def test_a_change_of_size_starts_the_warmup_again(new_pipeline: NewPipeline, video: Video) -> None:
    pipeline = new_pipeline()
    show(pipeline, video(2))
    show(pipeline, video(3, size=WIDE))
    assert pipeline.status.progress == 0.75
    show(pipeline, video(2, size=WIDE, start=3))
    assert pipeline.status.state is FROZEN


def test_a_change_of_size_while_adapting_and_when_frozen(
        new_pipeline: NewPipeline, video: Video, gated: list[GatedTracker]) -> None:
    pipeline = new_pipeline(BACKGROUND)
    show(pipeline, video(5))
    show(pipeline, video(2, size=WIDE, start=5))
    assert pipeline.status.state is ADAPTING
    wait_for_adaptation(gated)
    for start, size in ((7, WIDE), (9, (64, 96)), (11, (96, 96)), (13, (50, 70))):
        show(pipeline, video(2, size=size, start=start))
        assert (pipeline.status.state, pipeline.status.message) == (FROZEN, '')


def test_a_video_shown_again_gives_the_same_labels(new_pipeline: NewPipeline, video: Video,
                                                   ) -> None:
    """Stamps jump back once: the last frame of the first showing says nothing of the first."""
    pipeline, frames = new_pipeline(), video(8)
    show(pipeline, frames)
    assert same(show(pipeline, frames), show(pipeline, frames))
    again = copy.deepcopy(pipeline)
    assert again._fusion is not None
    again._fusion.forget()
    assert same(show(pipeline, frames[:1]), show(again, frames[:1]))


def test_large_frames_are_labelled_at_their_own_size(new_pipeline: NewPipeline, video: Video,
                                                     ) -> None:
    show(new_pipeline({'input_size': 64}), video(6, size=(128, 192)))
