"""Zero-shot refinement: what is tracked is painted, from the first frame on, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import Sam2VideoConfig, Sam2VideoModel

from vseg_ros.baselines import refine
from vseg_ros.baselines.objects import NO_OBJECT, detect_objects, paint_classes
from vseg_ros.baselines.refine import RefinePipeline
from vseg_ros.frame import Frame
from vseg_ros.models.tracker import create_tracker
from vseg_ros.pipeline import PipelineState, SegmentationPipeline, create_pipeline

New = Callable[..., SegmentationPipeline]
Video = Callable[..., list[Frame]]


def test_objects_of_the_first_frame_are_tracked_and_painted(new_pipeline: New,
                                                            video: Video) -> None:
    pipeline, plain = new_pipeline('refine', {'refine.renew': 0}), new_pipeline('iss')
    assert isinstance(pipeline, RefinePipeline)
    frames = video(5)
    session = create_tracker('flow').open()
    objects: dict[int, Any] = {}
    changed = 0
    for index, frame in enumerate(frames):
        (ours,) = pipeline.step(frame)
        (theirs,) = plain.step(frame)
        session.append(frame.image)
        if index == 0:
            logits = pipeline._labeller.runtime.infer(frame.image).logits
            probabilities = np.asarray(
                refine.score_pixels(logits, frame.size).scores.softmax(0).amax(0))
            objects = dict(enumerate(detect_objects(theirs.labels, probabilities, 0.0005), 1))
            masks = {key: session.add_mask(0, key, each.mask) for key, each in objects.items()}
            assert np.array_equal(ours.labels, theirs.labels)
            assert np.array_equal(ours.confidence, theirs.confidence)
        else:
            masks = session.track(index)
        painted = paint_classes(masks, objects, frame.size)
        expected = np.where(painted == NO_OBJECT, theirs.labels, painted)
        assert np.array_equal(ours.labels, expected)
        here = expected != theirs.labels
        assert np.array_equal(ours.confidence[~here], theirs.confidence[~here])
        assert (ours.confidence[here] > 0.25).all()
        changed += int(here.sum())
    assert len(objects) > 2
    assert changed > 50
    assert pipeline.status.state is PipelineState.RUNNING
    assert pipeline.finish() == []


def test_new_objects_after_so_many_frames(new_pipeline: New, video: Video) -> None:
    kept = new_pipeline('refine', {'refine.renew': 0})
    renewed = new_pipeline('refine', {'refine.renew': 3})
    plain = new_pipeline('iss')
    for index, frame in enumerate(video(7)):
        (old,), (new,), (iss,) = (each.step(frame) for each in (kept, renewed, plain))
        # a frame that gives the objects keeps its labels
        assert np.array_equal(new.labels, iss.labels) == (index % 3 == 0), index
        if 0 < index < 3:
            assert np.array_equal(new.labels, old.labels)


def test_a_new_session_goes_on_with_the_present_masks(new_pipeline: New, video: Video,
                                                      ) -> None:
    short = new_pipeline('refine', {'refine.kept_frames': 3, 'refine.renew': 0})
    long = new_pipeline('refine', {'refine.renew': 0})
    assert isinstance(short, RefinePipeline)
    differences, kept = [], []
    for frame in video(10):
        (first,), (second,) = short.step(frame), long.step(frame)
        differences.append(float((first.labels != second.labels).mean()))
        assert short._session is not None
        kept.append(len(short._session._greys))  # type: ignore[attr-defined]
    assert kept == [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]
    # flow carries what it rounds from frame to frame, which a new session does not know
    assert max(differences) < 0.05
    assert short._objects


@pytest.mark.parametrize('jump', ['stamp', 'size'])
def test_a_cut_starts_anew(new_pipeline: New, video: Video, jump: str) -> None:
    pipeline, plain = new_pipeline('refine'), new_pipeline('iss')
    for frame in video(4, start=20):
        pipeline.step(frame)
    (frame,) = video(1) if jump == 'stamp' else video(1, (96, 128), 30)
    assert np.array_equal(pipeline.step(frame)[0].labels, plain.step(frame)[0].labels)
    assert pipeline.step(video(1, frame.size, 31)[0])[0].labels.shape == frame.size


def test_labels_of_a_smaller_input_are_painted_at_the_size_of_the_frame(
        new_pipeline: New, video: Video) -> None:
    pipeline = new_pipeline('refine', {'input_size': 32})
    plain = new_pipeline('iss', {'input_size': 32})
    for index, frame in enumerate(video(4, (96, 128))):
        (ours,), (theirs,) = pipeline.step(frame), plain.step(frame)
        assert ours.labels.shape == (96, 128)
        assert (ours.labels != theirs.labels).mean() < 0.5, index


def test_sam_2_tracks_too(new_settings: Callable[..., Any], eager: None, video: Video,
                          tiny_sam2: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / 'sam2'
    Sam2VideoModel(Sam2VideoConfig(**tiny_sam2)).save_pretrained(folder)
    pipeline = create_pipeline('refine', new_settings('refine', {
        'tracker': str(folder), 'refine.kept_frames': 3, 'refine.min_area': 0.02}))
    for frame in video(5):
        (answer,) = pipeline.step(frame)
        assert answer.labels.shape == frame.size
    pipeline.finish()
