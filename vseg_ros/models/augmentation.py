"""
Augmentation of one labelled image for training a segmenter on few frames.

Geometry (flip, scale, crop) moves image and labels together; photometry (exposure, contrast,
colour, blur, noise) touches the image alone; and pasting copies small classes out of a second
image, because poles, signs, people and riders together fill a few per cent of a street.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledImage:
    """
    An image and its labels.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        labels: uint8 [H, W]; 255 is unlabelled.

    """

    image: Image
    labels: Labels


@dataclass(frozen=True)
class Augmentation:
    """
    How strongly images are varied.

    Attributes:
        crop: height and width of the result in pixels.
        scale: range of the zoom factor before cropping.
        photometric: strength of the colour changes; 0 is none, 1 the usual.
        paste_probability: how often small classes of a second image are pasted, 0..1.
        paste_classes: ids of the classes that are pasted.
        ignore_id: id of the pixels outside the image.

    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.5, 1.5)
    photometric: float = 1.0
    paste_probability: float = 0.5
    paste_classes: tuple[int, ...] = ()
    ignore_id: int = 255

    def __call__(self, sample: LabelledImage, other: LabelledImage,
                 random: np.random.Generator) -> LabelledImage:
        """Vary `sample`; `other` lends the classes that are pasted."""
        image, labels = self._geometry(sample, random)
        if self.paste_classes and random.random() < self.paste_probability:
            other_image, other_labels = self._geometry(other, random)
            pasted = np.isin(other_labels, self.paste_classes)
            image = np.where(pasted[..., None], other_image, image)
            labels = np.where(pasted, other_labels, labels)
        if self.photometric > 0:
            image = vary_photometry(image, self.photometric, random)
        return LabelledImage(image, labels)

    def _geometry(self, sample: LabelledImage, random: np.random.Generator,
                  ) -> tuple[Image, Labels]:
        """Flip, zoom and crop in one warp each for image and labels."""
        height, width = sample.labels.shape
        crop_height, crop_width = self.crop
        zoom = float(np.exp(random.uniform(np.log(self.scale[0]), np.log(self.scale[1]))))
        aspect = float(np.exp(random.uniform(-0.1, 0.1)))
        zoom_x, zoom_y = zoom * aspect, zoom / aspect
        left = _crop_start(width * zoom_x, crop_width, random)
        top = _crop_start(height * zoom_y, crop_height, random)
        matrix = np.array([[zoom_x, 0, -left], [0, zoom_y, -top]], np.float64)
        if random.random() < 0.5:
            matrix[0] = [-zoom_x, 0, crop_width - 1 + left]
        size = (crop_width, crop_height)
        image = cv2.warpAffine(sample.image, matrix, size, flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REFLECT_101)
        labels = cv2.warpAffine(sample.labels, matrix, size, flags=cv2.INTER_NEAREST,
                                borderMode=cv2.BORDER_CONSTANT, borderValue=self.ignore_id)
        return np.asarray(image, np.uint8), np.asarray(labels, np.uint8)


def _crop_start(available: float, wanted: int, random: np.random.Generator) -> float:
    """Choose where the crop begins; an image smaller than the crop is placed inside it."""
    slack = available - wanted
    return float(random.uniform(min(slack, 0), max(slack, 0)))


def vary_photometry(image: Image, strength: float, random: np.random.Generator) -> Image:
    """
    Change exposure, contrast, colour, sharpness and noise.

    Args:
        image: uint8 [H, W, 3], RGB.
        strength: 0 leaves the image nearly as it is, 1 is a strong change.
        random: source of randomness.

    Returns:
        uint8 [H, W, 3].

    """
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = np.exp(random.uniform(-0.5, 0.5) * strength)
    contrast = np.exp(random.uniform(-0.4, 0.4) * strength)
    brightness = random.uniform(-0.15, 0.15) * strength
    tint = 1 + random.uniform(-0.1, 0.1, 3) * strength
    curve = (levels ** gamma - 0.5) * contrast + 0.5 + brightness
    table = np.clip(curve[:, None] * tint[None] * 255, 0, 255).astype(np.uint8)
    varied = cv2.LUT(image, table[None])
    saturation = float(np.exp(random.uniform(-0.7, 0.4) * strength))
    grey = cv2.cvtColor(cv2.cvtColor(varied, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    varied = cv2.addWeighted(varied, saturation, grey, 1 - saturation, 0)
    if random.random() < 0.25 * strength:
        varied = cv2.GaussianBlur(varied, (0, 0), random.uniform(0.4, 1.4))
    if random.random() < 0.3 * strength:
        noise = random.normal(0, random.uniform(2, 10), varied.shape)
        varied = np.clip(varied + noise, 0, 255).astype(np.uint8)
    return np.asarray(varied, np.uint8)
