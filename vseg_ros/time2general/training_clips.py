"""
Where the training clips of Time2General come from (Sec. 3.3, 4.2).

A clip is drawn from the source or from the synthetic street: with one random stride between its
frames, or as a pan over a single image. All its frames are flipped, zoomed and cropped alike.
Clip `i` depends on the seed and `i` alone, so that a resumed run draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vseg_ros.errors import UserError
from vseg_ros.models.augmentation import LabelledImage
from vseg_ros.models.clip_sampling import augment_clip, pan_clip, sample_clip
from vseg_ros.training_settings import Time2GeneralTrainingSettings

LabelledVideo = Sequence[LabelledImage]
Weathering = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]
"""Changes the weather of one image, uint8 [H, W, 3]."""


@dataclass(frozen=True, eq=False)
class Clip:
    """
    A training clip.

    Attributes:
        images: uint8 [T, H, W, 3], RGB, oldest first.
        labels: uint8 [T, H, W].

    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingVideos:
    """
    Where clips are drawn from; either may be empty, not both.

    Attributes:
        source: labelled videos of a data set, with random access.
        street: videos of the synthetic street.
        weathers: what a clip may be seen through; needed if `weather_share` is above 0.

    """

    source: Sequence[LabelledVideo]
    street: Sequence[LabelledVideo]
    weathers: Sequence[Weathering] = ()


def draw_clip(videos: TrainingVideos, settings: Time2GeneralTrainingSettings,
              index: int) -> Clip:
    """
    Draw training clip number `index`.

    Raises:
        UserError: there is no video to draw from, or its images differ in size.

    """
    random = np.random.default_rng((settings.seed, index))
    street = bool(videos.street) and (not videos.source
                                      or random.random() < settings.street_share)
    pool = videos.street if street else videos.source
    if not pool:
        raise UserError('there is nothing to train on: name a source, or give street_videos')
    crop = settings.height, settings.width
    scale = settings.scale_min, settings.scale_max
    if not street and random.random() < settings.pan_share:
        still = _one_image(pool, random)
        images, labels = pan_clip(still.image, still.labels, settings.model.clip_length, crop,
                                  scale, random, class_share=settings.class_share)
    else:
        strides = settings.street_strides if street else settings.strides
        taken = _neighbours(pool, settings.model.clip_length, strides, random)
        images, labels = augment_clip(np.stack([each.image for each in taken]),
                                      np.stack([each.labels for each in taken]), crop, scale,
                                      random, class_share=settings.class_share)
    if videos.weathers and random.random() < settings.weather_share:
        weather = videos.weathers[int(random.integers(len(videos.weathers)))]
        images = np.stack([weather(image, random) for image in images])
    return Clip(images, labels)


def _choose(pool: Sequence[LabelledVideo], random: np.random.Generator) -> LabelledVideo:
    """Choose a video, longer ones more often."""
    lengths = np.array([len(video) for video in pool])
    if not lengths.any():
        raise UserError('the videos to train on have no frame: check the source')
    return pool[int(random.choice(len(pool), p=lengths / lengths.sum()))]


def _one_image(pool: Sequence[LabelledVideo], random: np.random.Generator) -> LabelledImage:
    video = _choose(pool, random)
    return video[int(random.integers(len(video)))]


def _neighbours(pool: Sequence[LabelledVideo], frames: int, strides: Sequence[int],
                random: np.random.Generator) -> list[LabelledImage]:
    video = _choose(pool, random)
    taken = [video[index] for index in sample_clip(len(video), frames, strides, random)]
    if len({each.labels.shape for each in taken}) > 1:
        raise UserError('the images of a video differ in size: scale them to one')
    return taken
