"""
Clips for training: frames at a random stride (Time2General, Sec. 3.3), varied as one.

The stride between the frames of a clip is drawn anew for each clip and kept within it, so that
training meets many frame rates. All frames are flipped, zoomed and cropped alike and share one
change of exposure, colour, blur and noise, with a little more for each frame, as a camera's
automatic exposure makes it. Where there is only a single image, a crop that glides over it makes
a clip in which labels stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vseg_ros.errors import UserError
from vseg_ros.models.augmentation import (
    Augmentation,
    Image,
    LabelledImage,
    Labels,
    Matrix,
    draw_photometry,
    vary_photometry,
)

CROP_TRIES = 10
"""Crops that are drawn at most until no class fills too much of them."""
CLASS_SHARE = 0.75
"""Largest share of a crop's labelled pixels that one class should fill."""
FRAME_PHOTOMETRY = 0.15
"""Strength of the colour changes of single frames, against those that the clip shares."""


def sample_clip(length: int, clip_length: int, strides: Sequence[int],
                random: np.random.Generator) -> list[int]:
    """
    Choose the frames of a clip: u, u + r, u + 2 r, ... for a random start u and stride r.

    The stride is drawn from those for which the clip fits into the video. If none does, it is
    the largest that fits at all; a video shorter than the clip is taken whole, its last frame
    repeated.

    Args:
        length: frames of the video, >= 1.
        clip_length: frames of the clip, >= 1.
        strides: frames from one frame of the clip to the next, each >= 1.
        random: source of randomness.

    Returns:
        `clip_length` indices, 0 to length - 1, ascending.

    Raises:
        UserError: the video is empty, or there is no stride, or one below 1.

    """
    if not strides or min(strides) < 1:
        raise UserError(f'the strides of clips are {tuple(strides)}: give one or more, each 1 or '
                        'more')
    if length < 1:
        raise UserError('a video to draw clips from has no frame: remove it')
    gaps = clip_length - 1
    if length <= gaps:
        return [min(index, length - 1) for index in range(clip_length)]
    longest = (length - 1) // max(gaps, 1)
    fitting = [stride for stride in strides if stride <= longest] or [max(longest, 1)]
    stride = int(random.choice(fitting))
    start = int(random.integers(length - gaps * stride))
    return [start + index * stride for index in range(clip_length)]


def augment_clip(images: Image, labels: Labels, crop: tuple[int, int],
                 scale: tuple[float, float], random: np.random.Generator, *,
                 photometric: float = 1.0, class_share: float = CLASS_SHARE,
                 ignore_id: int = 255) -> tuple[Image, Labels]:
    """
    Flip, zoom, crop and recolour all frames of a clip alike, and recolour each a little more.

    Args:
        images: uint8 [T, H, W, 3], RGB.
        labels: uint8 [T, H, W].
        crop: height and width of the result in pixels.
        scale: range of the zoom factor before cropping.
        random: source of randomness.
        photometric: strength of the colour changes; 0 is none, 1 the usual.
        class_share: the crop is drawn again, up to `CROP_TRIES` times in all, while one class
            fills more than this share of its labelled pixels; 1 takes the first.
        ignore_id: id of the pixels outside the image.

    Returns:
        images, uint8 [T, *crop, 3], and labels, uint8 [T, *crop].

    """
    augmentation = Augmentation(crop, scale, photometric, ignore_id=ignore_id)
    clip = [LabelledImage(*frame) for frame in zip(images, labels, strict=True)]
    return _varied(clip, [np.eye(3)] * len(clip), augmentation, random, class_share)


def pan_clip(image: Image, labels: Labels, clip_length: int, crop: tuple[int, int],
             scale: tuple[float, float], random: np.random.Generator, *, speed: float = 0.03,
             photometric: float = 1.0, class_share: float = CLASS_SHARE,
             ignore_id: int = 255) -> tuple[Image, Labels]:
    """
    Make a clip of one image: a crop that pans and zooms evenly over it, then varied as a clip.

    Args:
        image: uint8 [H, W, 3], RGB.
        labels: uint8 [H, W].
        clip_length: frames of the clip, T >= 1.
        crop: height and width of the result in pixels.
        scale: range of the zoom factor in the middle of the clip.
        random: source of randomness.
        speed: largest pan, as a share of the crop's width a frame, and largest zoom a frame.
        photometric: see `augment_clip`, as the rest.
        class_share: largest share of one class.
        ignore_id: id of the pixels outside the image.

    Returns:
        images, uint8 [T, *crop, 3], and labels, uint8 [T, *crop].

    """
    augmentation = Augmentation(crop, scale, photometric, ignore_id=ignore_id)
    motion = _glide(clip_length, crop, speed, random)
    clip = [LabelledImage(image, labels)] * clip_length
    return _varied(clip, motion, augmentation, random, class_share)


def _glide(clip_length: int, crop: tuple[int, int], speed: float,
           random: np.random.Generator) -> list[Matrix]:
    """Draw an even motion, at its origin in mid-clip: float64 [3, 3] for each frame."""
    height, width = crop
    pan = random.uniform(-speed, speed, 2) * width
    zoom = random.uniform(-speed, speed)
    centre = np.array([width - 1, height - 1]) / 2
    motion = []
    for time in np.arange(clip_length) - (clip_length - 1) / 2:
        matrix = np.eye(3)
        matrix[:2, :2] *= np.exp(zoom * time)
        matrix[:2, 2] = centre - matrix[:2, :2] @ centre + pan * time
        motion.append(matrix)
    return motion


def _varied(clip: Sequence[LabelledImage], motion: Sequence[Matrix], augmentation: Augmentation,
            random: np.random.Generator, class_share: float) -> tuple[Image, Labels]:
    """Crop, move and recolour the frames of a clip."""
    size = clip[0].labels.shape
    for _ in range(CROP_TRIES):
        geometry = np.vstack([augmentation.draw_warp(size, random), (0, 0, 1)])
        moved = [augmentation.warp(frame, (move @ geometry)[:2])
                 for frame, move in zip(clip, motion, strict=True)]
        labels = np.stack([frame.labels for frame in moved])
        if class_share >= 1 or _largest_share(labels, augmentation.ignore_id) <= class_share:
            break
    images = _recoloured([frame.image for frame in moved], augmentation.photometric, random)
    return np.stack(images), labels


def _largest_share(labels: Labels, ignore_id: int) -> float:
    """Return the share of the labelled pixels that the largest class fills; 1 without any."""
    counts = np.bincount(labels[labels != ignore_id])
    return float(counts.max() / counts.sum()) if len(counts) else 1.0


def _recoloured(images: Sequence[Image], strength: float,
                random: np.random.Generator) -> list[Image]:
    """Change the colours of all frames alike, then of each a little; noise is each frame's own."""
    if strength <= 0:
        return list(images)
    shared = draw_photometry(strength, random)
    own = FRAME_PHOTOMETRY * strength
    return [vary_photometry(shared.apply(image, random), own, random) for image in images]
