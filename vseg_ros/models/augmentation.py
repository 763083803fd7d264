"""
Augmentation of one labelled image for training a segmenter on few frames.

Geometry (flip, scale, crop) moves image and labels together; photometry (exposure, contrast,
colour, blur, noise) touches the image alone; and pasting copies small classes out of a second
image, because poles, signs, people and riders together fill a few per cent of a street. Each part
is drawn first and applied then, so that all frames of a clip can be given the same
(`clip_sampling.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Matrix = NDArray[np.float64]


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
        varied = self.warp(sample, self.draw_warp(sample.labels.shape, random))
        if self.paste_classes and random.random() < self.paste_probability:
            matrix = self.draw_warp(other.labels.shape, random)
            varied = self.paste(varied, self.warp(other, matrix))
        if self.photometric > 0:
            image = vary_photometry(varied.image, self.photometric, random)
            varied = LabelledImage(image, varied.labels)
        return varied

    def draw_warp(self, size: tuple[int, ...], random: np.random.Generator) -> Matrix:
        """
        Draw flip, zoom and crop.

        Args:
            size: height and width of the image.
            random: source of randomness.

        Returns:
            float64 [2, 3], from places (x, y, 1) of the image to places (x, y) of the crop.

        """
        height, width = size
        crop_height, crop_width = self.crop
        zoom = float(np.exp(random.uniform(np.log(self.scale[0]), np.log(self.scale[1]))))
        aspect = float(np.exp(random.uniform(-0.1, 0.1)))
        zoom_x, zoom_y = zoom * aspect, zoom / aspect
        left = _crop_start(width * zoom_x, crop_width, random)
        top = _crop_start(height * zoom_y, crop_height, random)
        matrix = np.array([[zoom_x, 0, -left], [0, zoom_y, -top]], np.float64)
        if random.random() < 0.5:
            matrix[0] = [-zoom_x, 0, crop_width - 1 + left]
        return matrix

    def warp(self, sample: LabelledImage, matrix: Matrix) -> LabelledImage:
        """Move image and labels to the crop; beyond the image it is mirrored, and unlabelled."""
        size = self.crop[::-1]
        image = cv2.warpAffine(sample.image, matrix, size, flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REFLECT_101)
        labels = cv2.warpAffine(sample.labels, matrix, size, flags=cv2.INTER_NEAREST,
                                borderMode=cv2.BORDER_CONSTANT, borderValue=self.ignore_id)
        return LabelledImage(np.asarray(image, np.uint8), np.asarray(labels, np.uint8))

    def paste(self, sample: LabelledImage, other: LabelledImage) -> LabelledImage:
        """Copy the pixels of `paste_classes` out of `other`, of the same size."""
        pasted = np.isin(other.labels, self.paste_classes)
        return LabelledImage(np.where(pasted[..., None], other.image, sample.image),
                             np.where(pasted, other.labels, sample.labels))


def _crop_start(available: float, wanted: int, random: np.random.Generator) -> float:
    """Choose where the crop begins; an image smaller than the crop is placed inside it."""
    slack = available - wanted
    return float(random.uniform(min(slack, 0), max(slack, 0)))


@dataclass(frozen=True)
class Photometry:
    """
    A change of exposure, contrast, colour, sharpness and noise.

    Attributes:
        table: uint8 [256, 3], the new value of each level of each channel.
        saturation: factor of the distance from grey.
        blur: standard deviation of the blur in pixels; 0 is none.
        noise: standard deviation of the noise in grey levels; 0 is none.

    """

    table: NDArray[np.uint8]
    saturation: float
    blur: float
    noise: float

    def apply(self, image: Image, random: np.random.Generator) -> Image:
        """Change uint8 [H, W, 3]; the noise of each pixel is drawn here."""
        varied = cv2.LUT(image, self.table[None])
        grey = cv2.cvtColor(cv2.cvtColor(varied, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        varied = cv2.addWeighted(varied, self.saturation, grey, 1 - self.saturation, 0)
        if self.blur:
            varied = cv2.GaussianBlur(varied, (0, 0), self.blur)
        if self.noise:
            noise = random.normal(0, self.noise, varied.shape)
            varied = np.clip(varied + noise, 0, 255).astype(np.uint8)
        return np.asarray(varied, np.uint8)


def draw_photometry(strength: float, random: np.random.Generator) -> Photometry:
    """Draw a change; strength 0 leaves images nearly as they are, 1 is a strong change."""
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = np.exp(random.uniform(-0.5, 0.5) * strength)
    contrast = np.exp(random.uniform(-0.4, 0.4) * strength)
    brightness = random.uniform(-0.15, 0.15) * strength
    tint = 1 + random.uniform(-0.1, 0.1, 3) * strength
    curve = (levels ** gamma - 0.5) * contrast + 0.5 + brightness
    table = np.clip(curve[:, None] * tint[None] * 255, 0, 255).astype(np.uint8)
    saturation = float(np.exp(random.uniform(-0.7, 0.4) * strength))
    blur = random.uniform(0.4, 1.4) if random.random() < 0.25 * strength else 0.0
    noise = random.uniform(2, 10) if random.random() < 0.3 * strength else 0.0
    return Photometry(table, saturation, blur, noise)


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
    return draw_photometry(strength, random).apply(image, random)
