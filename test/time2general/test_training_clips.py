"""Which clips are drawn: strides, shares, one view for all frames, and the same again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vseg_ros.datasets.weather import Weather
from vseg_ros.errors import UserError
from vseg_ros.models.augmentation import LabelledImage
from vseg_ros.time2general.training_clips import Clip, TrainingVideos, draw_clip
from vseg_ros.training_settings import Time2GeneralTrainingSettings

FRAMES = 40


def settings(**changes: Any) -> Time2GeneralTrainingSettings:
    return Time2GeneralTrainingSettings.model_validate({
        'model': {'clip_length': 3}, 'height': 32, 'width': 48, 'scale_min': 1.0,
        'scale_max': 1.0, 'class_share': 1.0, 'street_share': 0.0, **changes})


def numbered(first: int, frames: int = FRAMES, size: tuple[int, int] = (64, 96),
             ) -> list[LabelledImage]:
    """A video whose labels tell their frame, first, first + 1, ..."""
    return [LabelledImage(np.full((*size, 3), 120, np.uint8),
                          np.full(size, first + index, np.uint8)) for index in range(frames)]


def frames_of(clip: Clip) -> list[int]:
    """Which frames a clip of numbered images shows."""
    return [int(labels[16, 24]) for labels in clip.labels]


SOURCE, STREET = numbered(0), numbered(100)


@pytest.mark.parametrize('strides', [(1,), (2, 5), (5, 10, 15)])
def test_one_stride_in_each_clip(strides: tuple[int, ...]) -> None:
    seen = set()
    for index in range(60):
        clip = draw_clip(TrainingVideos([SOURCE], []), settings(strides=strides), index)
        assert clip.images.shape == (3, 32, 48, 3)
        assert clip.labels.shape == (3, 32, 48)
        assert clip.images.dtype == clip.labels.dtype == np.uint8
        first, second, third = frames_of(clip)
        assert second - first == third - second
        seen.add(second - first)
    assert seen == set(strides)


def test_clips_depend_on_seed_and_number_alone() -> None:
    videos = TrainingVideos([SOURCE], [STREET], [Weather('snow', 2)])
    random = settings(street_share=0.5, pan_share=0.3, weather_share=0.5, scale_min=0.5,
                      scale_max=2)
    clips = [draw_clip(videos, random, index) for index in range(6)]
    for index in (5, 2, 0):
        again = draw_clip(videos, random, index)
        np.testing.assert_array_equal(again.images, clips[index].images)
        np.testing.assert_array_equal(again.labels, clips[index].labels)
    other = draw_clip(videos, random.model_copy(update={'seed': 1}), 0)
    assert not np.array_equal(other.images, clips[0].images)
    assert not any(np.array_equal(clip.images, clips[0].images) for clip in clips[1:])


@pytest.mark.parametrize(('share', 'low', 'high'), [(0.0, 0, 0), (0.25, 15, 45), (1.0, 120, 120)])
def test_share_of_the_street(share: float, low: int, high: int) -> None:
    videos = TrainingVideos([SOURCE], [STREET])
    drawn = [frames_of(draw_clip(videos, settings(
        street_share=share, strides=(1,), street_strides=(4,)), index)) for index in range(120)]
    assert low <= sum(frames[0] >= 100 for frames in drawn) <= high
    for frames in drawn:
        assert frames[1] - frames[0] == (4 if frames[0] >= 100 else 1)


@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
def test_the_one_pool_there_is_gives_all_clips(share: float) -> None:
    for index in range(10):
        wanted = settings(street_share=share)
        assert frames_of(draw_clip(TrainingVideos([SOURCE], []), wanted, index))[0] < 100
        assert frames_of(draw_clip(TrainingVideos([], [STREET]), wanted, index))[0] >= 100


def test_longer_videos_are_drawn_more_often() -> None:
    videos = TrainingVideos([numbered(0, 40), numbered(100, 8)], [])
    firsts = [frames_of(draw_clip(videos, settings(), index))[0] for index in range(120)]
    assert 5 <= sum(first >= 100 for first in firsts) <= 40


def test_pans_show_one_image_that_moves() -> None:
    random = np.random.default_rng(0)
    video = [LabelledImage(np.zeros((64, 96, 3), np.uint8),
                           random.integers(0, 4, (64, 96)).astype(np.uint8) + 10 * index)
             for index in range(5)]
    pans = 0
    for index in range(40):
        clip = draw_clip(TrainingVideos([video], []), settings(pan_share=0.5), index)
        shown = [{int(label) // 10 for label in np.unique(labels) if label != 255}
                 for labels in clip.labels]
        assert all(len(each) == 1 for each in shown)
        if shown[0] == shown[1] == shown[2]:
            pans += 1
            assert not np.array_equal(clip.labels[0], clip.labels[1])
    assert 10 <= pans <= 30
    for index in range(5):
        clip = draw_clip(TrainingVideos([], [video]), settings(pan_share=1.0), index)
        assert len({int(labels[labels != 255][0]) // 10 for labels in clip.labels}) == 3


def test_all_frames_are_cropped_alike() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (64, 96)).astype(np.uint8)
    video = [LabelledImage(np.zeros((64, 96, 3), np.uint8), labels)] * 5
    crops = set()
    for index in range(10):
        clip = draw_clip(TrainingVideos([video], []), settings(scale_min=0.7, scale_max=1.5),
                         index)
        for other in clip.labels[1:]:
            np.testing.assert_array_equal(other, clip.labels[0])
        crops.add(clip.labels[0].tobytes())
    assert len(crops) == 10


def test_share_in_bad_weather() -> None:
    painted = []

    def paint(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        painted.append(random.random())
        return np.full_like(image, 7)

    videos = TrainingVideos([SOURCE], [], [paint])
    clips = [draw_clip(videos, settings(weather_share=0.3), index) for index in range(80)]
    foul = [clip for clip in clips if (clip.images == 7).all()]
    assert 10 <= len(foul) <= 40
    assert len(painted) == 3 * len(foul)
    assert not any((clip.images == 7).all() for clip in (
        draw_clip(videos, settings(), index) for index in range(20)))


def test_nothing_to_draw_from() -> None:
    with pytest.raises(UserError, match='nothing to train on: name a source'):
        draw_clip(TrainingVideos([], []), settings(), 0)


def test_images_that_differ_in_size() -> None:
    video = [*numbered(0, 2), *numbered(2, 2, (60, 96))]
    with pytest.raises(UserError, match='images of a video differ in size'):
        draw_clip(TrainingVideos([video], []), settings(), 0)  # any clip of 3 has both


def test_empty_videos() -> None:
    assert frames_of(draw_clip(TrainingVideos([[], SOURCE], []), settings(), 0))
    with pytest.raises(UserError, match='no frame'):
        draw_clip(TrainingVideos([[]], []), settings(), 0)
