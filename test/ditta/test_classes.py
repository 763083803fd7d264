"""DiTTA in the classes of another data set: adapted in those, or in the segmenter's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vseg_ros.class_maps import CLASS_MAPS, ClassMap
from vseg_ros.ditta.pipeline import DittaPipeline
from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.labels import LabelSet
from vseg_ros.models.class_groups import GroupedDecoder
from vseg_ros.models.image_pipeline import ImageLabeller, ImagePipeline
from vseg_ros.pipeline import PipelineState
from vseg_ros.settings import DittaSettings

NewPipeline = Callable[..., DittaPipeline]
Video = Callable[..., list[Frame]]
TARGET = LabelSet.from_names(('moving', 'sky', 'water'))
GROUPS = [[2, 3], [1], []]  # of road, sky, car, person
SOURCE, TARGET_CLASSES = ({'classes': 'things', 'adaptation.classes': where}
                          for where in ('source', 'target'))


@pytest.fixture(autouse=True)
def _things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLASS_MAPS, 'things', ClassMap(
        'things', 'driving', 'driving', TARGET, {'moving': ('car', 'person'), 'sky': ('sky',)},
        {}))


def grouped_labels(logits: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """Take the largest score of each group, then the best group, of [1, S, h, w]."""
    best = torch.stack([torch.stack([logits[0, source] for source in group]).amax(0)
                        for group in GROUPS if group])
    return F.interpolate(best[None], size=size, mode='bilinear')[0].argmax(0).numpy()


@pytest.mark.parametrize('where', [SOURCE, TARGET_CLASSES])
def test_before_adaptation_both_are_the_grouped_segmenter(
        new_pipeline: NewPipeline, new_settings: Callable[..., DittaSettings], video: Video,
        where: dict[str, object]) -> None:
    pipeline, plain = new_pipeline(where), ImagePipeline(new_settings({'classes': 'things'}))
    assert pipeline.label_set == plain.label_set == TARGET
    for frame in video(3):
        (found,), (expected,) = pipeline.step(frame), plain.step(frame)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.confidence, expected.confidence)
        assert found.label_set is TARGET
        assert set(np.unique(found.labels)) == {0, 1}


def test_source_classes_are_grouped_after_fusion(
        new_pipeline: NewPipeline, video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    fused: list[torch.Tensor] = []
    answer = ImageLabeller.answer
    monkeypatch.setattr(ImageLabeller, 'answer', lambda self, scored, frame: (
        fused.append(scored.logits), answer(self, scored, frame))[1])
    frames = video(9)
    own = new_pipeline()
    for frame in frames:
        own.step(frame)
    assert own.status.state is PipelineState.FROZEN
    expected = [grouped_labels(logits, frame.size)
                for logits, frame in zip(fused, frames, strict=True)]
    pipeline = new_pipeline(SOURCE)
    found = [pipeline.step(frame)[0].labels for frame in frames]
    assert pipeline.history == own.history, 'what is learned does not depend on the grouping'
    np.testing.assert_array_equal(found, expected)


def test_target_classes_are_adapted_grouped(new_pipeline: NewPipeline, video: Video,
                                            tmp_path: Path) -> None:
    pipeline = new_pipeline(TARGET_CLASSES)
    frames = video(9)
    found = [pipeline.step(frame)[0] for frame in frames]
    assert pipeline.status.state is PipelineState.FROZEN
    assert pipeline.status.message == ''
    assert isinstance(pipeline._model.decoder, GroupedDecoder)
    assert pipeline.history != new_pipeline_history(new_pipeline, frames)
    assert all(set(np.unique(each.labels)) <= {0, 1} for each in found)
    pipeline.save(tmp_path / 'adapted')
    again = new_pipeline({**TARGET_CLASSES, 'adapted_weights': str(tmp_path / 'adapted')})
    assert again.status.state is PipelineState.FROZEN
    late = new_pipeline({**TARGET_CLASSES, 'adapted_weights': str(tmp_path / 'adapted')})
    for frame in frames[:2]:
        np.testing.assert_array_equal(again.step(frame)[0].labels, late.step(frame)[0].labels)
    with pytest.raises(UserError, match='belongs to the segmenter'):
        new_pipeline({**SOURCE, 'adapted_weights': str(tmp_path / 'adapted')})


def new_pipeline_history(new_pipeline: NewPipeline,
                         frames: list[Frame]) -> list[dict[str, float]]:
    """Return the losses of the same adaptation in source classes."""
    pipeline = new_pipeline(SOURCE)
    for frame in frames:
        pipeline.step(frame)
    return pipeline.history
