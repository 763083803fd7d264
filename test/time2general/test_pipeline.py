"""Both modes against the model run plainly on the frames that each answer may know of."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.frame import Frame, Segmentation
from vseg_ros.models.labelling import InputSize, resize_image, score_pixels, to_segmentation
from vseg_ros.pipeline import PipelineState, SegmentationPipeline, create_pipeline
from vseg_ros.settings import Time2GeneralSettings
from vseg_ros.time2general.model import Time2General
from vseg_ros.time2general.pipeline import Time2GeneralPipeline
from vseg_ros.time2general.saved import load_time2general

LENGTH = 3
ModelFile = Callable[..., Path]
Video = Callable[..., list[Frame]]


def make_pipeline(path: Path, mode: str, **changes: Any) -> Time2GeneralPipeline:
    return Time2GeneralPipeline(Time2GeneralSettings.model_validate(
        {'weights': str(path), 'mode': mode, 'device': 'cpu', 'precision': 'float32',
         'input_size': 0, **changes}))


def answers(pipeline: SegmentationPipeline, frames: Sequence[Frame]) -> list[Segmentation]:
    found = [answer for frame in frames for answer in pipeline.step(frame)]
    return found + pipeline.finish()


def whole(model: Time2General, frames: Sequence[Frame], shorter_side: int = 0,
          ) -> list[Segmentation]:
    """Answer a clip by one plain run of the model."""
    size = InputSize(shorter_side, model.backbone.size_multiple).of(frames[0].size)
    images = np.stack([resize_image(frame.image, size) for frame in frames])
    with torch.no_grad():
        logits = model(torch.from_numpy(images)[None])[0]
    scored = [score_pixels(each[None], size) for each in logits]
    return [to_segmentation(each, each.reliability, frame, model.label_set)
            for each, frame in zip(scored, frames, strict=True)]


def by_clips(model: Time2General, frames: Sequence[Frame], **how: int) -> list[Segmentation]:
    return [answer for start in range(0, len(frames), LENGTH)
            for answer in whole(model, frames[start:start + LENGTH], **how)]


def by_sliding(model: Time2General, frames: Sequence[Frame], length: int = LENGTH, **how: int,
               ) -> list[Segmentation]:
    return [whole(model, frames[max(stop - length, 0):stop], **how)[-1]
            for stop in range(1, len(frames) + 1)]


def assert_alike(found: Sequence[Segmentation], expected: Sequence[Segmentation]) -> None:
    """Equal but for the rounding of single frames against batches."""
    assert [each.stamp for each in found] == [each.stamp for each in expected]
    assert [each.frame_id for each in found] == [each.frame_id for each in expected]
    for ours, plain in zip(found, expected, strict=True):
        assert ours.labels.shape == plain.labels.shape
        assert (ours.labels == plain.labels).mean() > 0.999
        np.testing.assert_allclose(ours.confidence, plain.confidence, atol=2e-3)


def differ(found: Sequence[Segmentation], expected: Sequence[Segmentation]) -> bool:
    return any(np.abs(a.confidence - b.confidence).max() > 0.01
               for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize('frames', [1, 2, 3, 6, 8])
def test_clips_equal_the_model_on_whole_clips(model_file: ModelFile, video: Video,
                                              frames: int) -> None:
    path = model_file()
    found = answers(make_pipeline(path, 'clips'), video(frames))
    assert_alike(found, by_clips(load_time2general(str(path)), video(frames)))
    assert len({int(label) for each in found for label in np.unique(each.labels)}) > 1


def test_clips_answer_when_they_are_full(model_file: ModelFile, video: Video) -> None:
    pipeline = make_pipeline(model_file(), 'clips')
    assert [len(pipeline.step(frame)) for frame in video(8)] == [0, 0, 3, 0, 0, 3, 0, 0]
    assert len(pipeline.finish()) == 2
    assert pipeline.finish() == []


@pytest.mark.parametrize(('given', 'length'), [(0, 3), (2, 2), (1, 1)])
def test_sliding_equals_the_model_on_the_last_frames(model_file: ModelFile, video: Video,
                                                     given: int, length: int) -> None:
    path = model_file()
    pipeline = make_pipeline(path, 'sliding', clip_length=given)
    found = [pipeline.step(frame) for frame in video(7)]
    assert [len(each) for each in found] == [1] * 7
    assert pipeline.finish() == []
    plain = by_sliding(load_time2general(str(path)), video(7), length)
    assert_alike([each[0] for each in found], plain)
    assert differ(plain, by_sliding(load_time2general(str(path)), video(7), length % 3 + 1))


@pytest.mark.parametrize('mode', ['clips', 'sliding'])
def test_model_without_memory(model_file: ModelFile, video: Video, mode: str) -> None:
    path = model_file(memory=False)
    found = answers(make_pipeline(path, mode), video(5))
    assert_alike(found, by_sliding(load_time2general(str(path)), video(5), 1))


@pytest.mark.parametrize(('mode', 'plainly'), [('clips', by_clips), ('sliding', by_sliding)])
@pytest.mark.parametrize(('size', 'shorter_side'), [((63, 90), 0), ((120, 200), 56)])
def test_answers_have_the_size_of_their_frame(model_file: ModelFile, video: Video, mode: str,
                                              plainly: Callable[..., list[Segmentation]],
                                              size: tuple[int, int], shorter_side: int) -> None:
    path = model_file()
    frames = video(4, size)
    found = answers(make_pipeline(path, mode, input_size=shorter_side), frames)
    assert {each.labels.shape for each in found} == {size}
    assert all(each.confidence.min() >= 0 and each.confidence.max() <= 1 for each in found)
    assert_alike(found, plainly(load_time2general(str(path)), frames, shorter_side=shorter_side))


@pytest.mark.parametrize(('mode', 'plainly'), [('clips', by_clips), ('sliding', by_sliding)])
def test_segmenter_as_backbone(model_file: ModelFile, video: Video, segformer_file: Path,
                               mode: str, plainly: Callable[..., list[Segmentation]]) -> None:
    path = model_file(backbone=str(segformer_file), blocks=(1, 2, 4))
    frames = video(4, (64, 96))
    found = answers(make_pipeline(path, mode), frames)
    assert_alike(found, plainly(load_time2general(str(path)), frames))


SECOND = 1_000_000_000


def later(frames: Sequence[Frame], seconds: float) -> list[Frame]:
    return [Frame(frame.image, frame.stamp + round(seconds * SECOND), frame.frame_id)
            for frame in frames]


BREAKS: dict[str, Callable[[Video], tuple[list[Frame], list[Frame]]]] = {
    'pause': lambda video: (video(2), later(video(4, start=2), 2.1)),
    'step back': lambda video: (video(2, start=4), video(4)),
    'frame size': lambda video: (video(2), video(4, (70, 84), start=2)),
}


@pytest.mark.parametrize('mode', ['clips', 'sliding'])
@pytest.mark.parametrize('kind', BREAKS)
def test_a_break_answers_what_waits_and_forgets(model_file: ModelFile, video: Video, mode: str,
                                                kind: str) -> None:
    path = model_file()
    before, after = BREAKS[kind](video)
    pipeline = make_pipeline(path, mode)
    first = [answer for frame in before for answer in pipeline.step(frame)]
    at_once = pipeline.step(after[0])
    rest = answers(pipeline, after[1:])
    if mode == 'clips':
        assert first == []
        assert [each.stamp for each in at_once] == [frame.stamp for frame in before]
    else:
        assert [each.stamp for each in at_once] == [after[0].stamp]
    expected = (answers(make_pipeline(path, mode), before)
                + answers(make_pipeline(path, mode), after))
    found = [*first, *at_once, *rest]
    assert [each.stamp for each in found] == [frame.stamp for frame in (*before, *after)]
    for ours, fresh in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.labels, fresh.labels)
        np.testing.assert_array_equal(ours.confidence, fresh.confidence)


@pytest.mark.parametrize('mode', ['clips', 'sliding'])
def test_a_longer_gap_may_be_bridged(model_file: ModelFile, video: Video, mode: str) -> None:
    path = model_file()
    frames = [*video(2), *later(video(1, start=2), 5)]
    patient = answers(make_pipeline(path, mode, max_gap=6), frames)
    close = answers(make_pipeline(path, mode), video(3))
    for a, b in zip(patient, close, strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(a.confidence, b.confidence)
    assert differ(patient, answers(make_pipeline(path, mode), frames))


@pytest.mark.parametrize('mode', ['clips', 'sliding'])
def test_two_runs_are_equal(model_file: ModelFile, video: Video, mode: str) -> None:
    path = model_file()
    runs = [answers(make_pipeline(path, mode), video(5)) for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(a.confidence, b.confidence)


def live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


@pytest.mark.parametrize('mode', ['clips', 'sliding'])
def test_memory_is_flat(model_file: ModelFile, video: Video, mode: str) -> None:
    pipeline = make_pipeline(model_file(), mode)
    size = 28, 28
    images = [frame.image for frame in video(4, size)]
    references: list[weakref.ref[Frame]] = []
    counts = []
    for index in range(120):
        frame = Frame(images[index % 4], index * SECOND // 10)
        references.append(weakref.ref(frame))
        pipeline.step(frame)
        if index % 30 == 29:
            counts.append(live_tensors())
    del frame
    assert len(set(counts)) == 1
    assert sum(reference() is not None for reference in references) <= LENGTH
    pipeline.finish()
    assert not any(reference() is not None for reference in references)


def test_bfloat16_on_a_cpu(model_file: ModelFile, video: Video) -> None:
    path = model_file()
    exact, reduced = (answers(make_pipeline(path, 'sliding', precision=precision), video(4))
                      for precision in ('float32', 'bfloat16'))
    for a, b in zip(exact, reduced, strict=True):
        assert (a.labels == b.labels).mean() > 0.9


def test_longer_clips_than_trained(model_file: ModelFile) -> None:
    path = model_file()
    with pytest.raises(UserError, match=r'is 4, but .* was trained with clips of 3') as caught:
        make_pipeline(path, 'sliding', clip_length=4)
    assert '\n' not in str(caught.value)


def test_the_factory_makes_it(model_file: ModelFile, video: Video) -> None:
    pipeline = create_pipeline('time2general', Time2GeneralSettings(
        weights=str(model_file()), device='cpu', input_size=0))
    assert isinstance(pipeline, Time2GeneralPipeline)
    assert pipeline.status.state is PipelineState.RUNNING
    assert pipeline.label_set.names == ('road', 'sky', 'car', 'person')
    assert len(pipeline.step(video(1)[0])) == 1  # sliding unless asked otherwise


@pytest.mark.parametrize(('changes', 'said'), [
    ({'weights': 'gone'}, "no weights named 'gone'"), ({'device': 'tpu'}, 'tpu')])
def test_what_is_not_there(model_file: ModelFile, changes: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_pipeline(model_file(), 'sliding', **changes)
