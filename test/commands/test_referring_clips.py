"""Referring data sets as clips to learn from: shared regions, sampled frames, questions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vseg_ros.commands.referring_clips import (
    FOUND,
    QuestionedVideos,
    ReferringVideos,
    share_regions,
)
from vseg_ros.datasets.referring import ReferringClip
from vseg_ros.datasets.street_queries import NO_MATCH
from vseg_ros.errors import UserError
from vseg_ros.models.encoded_clips import EncodedClips
from vseg_ros.models.nano_sam2 import new_nano_sam2
from vseg_ros.models.sam2_network import Sam2Network
from vseg_ros.virst.training_batches import Question

SIZE = 24, 32


def mask_of(number: int, frame: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.bool_)
    if number < 2:
        mask[4:12, 2 + frame + 8 * number:14 + frame + 8 * number] = True
    return mask


def write_video(folder: Path, name: str, frames: int, sentences: int = 3,
                masks: bool = True) -> list[ReferringClip]:
    """Two things that overlap, and sentences about the first, the second and nothing."""
    (folder / name).mkdir(parents=True)
    files = []
    for frame in range(frames):
        files.append(folder / name / f'{frame:05}.png')
        cv2.imwrite(str(files[-1]), np.full((*SIZE, 3), 10 * frame, np.uint8))
    return [ReferringClip(name, f'sentence {number}', str(number), tuple(files), 6.0,
                          (lambda frame, number=number: mask_of(number, frame)) if masks else None)
            for number in range(sentences)]


@settings(max_examples=60, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 5), st.just(2), st.just(3), st.just(3))))
def test_masks_come_back_from_shared_regions(masks: np.ndarray) -> None:
    regions, meant = share_regions(list(masks))
    assert regions.dtype == np.uint16
    for mask, numbers in zip(masks, meant, strict=True):
        assert 0 not in numbers
        assert np.array_equal(np.isin(regions, numbers), mask)
    assert regions.max() <= 2 ** len(masks) - 1
    assert set(np.unique(regions)) | {0} == set(range(int(regions.max()) + 1)), 'no gaps'
    assert not regions[~masks.any(0)].any()


def test_a_clip_a_video(tmp_path: Path) -> None:
    videos = ReferringVideos([*write_video(tmp_path, 'a', 5), *write_video(tmp_path, 'b', 1)], 3)
    assert len(videos) == 2
    clip = videos[0]
    assert clip.images.shape == (3, *SIZE, 3)
    assert clip.images[:, 0, 0, 0].tolist() == [0, 20, 40], 'evenly spaced, first and last'
    assert clip.regions.shape == (3, *SIZE)
    again = videos[1]
    assert again.images[:, 0, 0, 0].tolist() == [0, 0, 0], 'a short video shows frames again'


def test_questions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Sam2Network(new_nano_sam2(side=64, width=64).eval())
    videos = ReferringVideos(write_video(tmp_path, 'a', 3), 3)
    clips = QuestionedVideos(EncodedClips(tmp_path / 'kept', videos, network, 3))
    assert len(clips) == 1
    random = np.random.default_rng(0)
    asked = clips.questions(0, 10, random)
    assert sorted(each.text for each in asked) == ['sentence 0', 'sentence 1', 'sentence 2']
    regions = clips[0].regions.numpy()
    assert regions.shape == (3, 32, 32)
    for question in asked:
        number = int(question.text[-1])
        assert question.answer == (FOUND if number < 2 else NO_MATCH)
        for frame in range(3):
            expected = cv2.resize(mask_of(number, frame).astype(np.uint8), (32, 32),
                                  interpolation=cv2.INTER_NEAREST) > 0
            assert np.array_equal(np.isin(regions[frame], list(question.regions)), expected)
    assert len(clips.questions(0, 2, random)) == 2
    drawn = {tuple(each.text for each in clips.questions(0, 3, random)) for _ in range(20)}
    assert len(drawn) > 1, 'in random order'
    assert all(isinstance(each, Question) for each in asked)


def test_masks_that_are_not_published(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no masks to learn from'):
        ReferringVideos(write_video(tmp_path, 'a', 2, masks=False), 2)


def test_sizes_that_do_not_fit(tmp_path: Path) -> None:
    clips = write_video(tmp_path, 'a', 2)
    cv2.imwrite(str(clips[0].frame_files[1]), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match='the frames of a have several sizes'):
        ReferringVideos(clips, 2)[0]
    cv2.imwrite(str(clips[0].frame_files[0]), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match='a mask of a has another size'):
        ReferringVideos(clips, 2)[0]
