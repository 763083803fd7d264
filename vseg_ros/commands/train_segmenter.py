"""What `vseg train iss` does: gather images, train, write the segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vseg_ros.atomic import atomic_file
from vseg_ros.commands.progress import console, progress_bar
from vseg_ros.errors import UserError
from vseg_ros.evaluation.confusion import ConfusionMatrix
from vseg_ros.io.frame_source import FrameSource
from vseg_ros.io.source import open_sources
from vseg_ros.io.street import SyntheticStreet
from vseg_ros.labels import DRIVING
from vseg_ros.models.augmentation import LabelledImage
from vseg_ros.models.calibration import calibrate
from vseg_ros.models.loading import write_segmenter
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.models.segmenter_training import SegmenterTrainer, TrainingImages, predict_labels
from vseg_ros.training_settings import SegmenterTrainingSettings

IMAGES_PER_STREET = 8
STREET_SPACING = 30
FIRST_TRAINING_SEED = 10_000
"""Streets from this seed on are trained on; demo, tests and scores use smaller ones."""


def train_segmenter(settings: SegmenterTrainingSettings, out: Path,
                    validate: str | None) -> None:
    """
    Train the image segmenter.

    Args:
        settings: what to train and on what.
        out: folder for checkpoint.pt (resumed from) and segmenter.safetensors.
        validate: folder in the camvid11 form that is scored at every checkpoint.

    Raises:
        UserError: a folder is missing or cannot be written.

    """
    real: list[LabelledImage] = []
    videos: list[range] = []
    if settings.camvid:
        for source in open_sources(settings.camvid, format='camvid11'):
            frames = _read_images([source])
            if frames:
                videos.append(range(len(real), len(real) + len(frames)))
                real += frames
    held_out = _read_images(open_sources(validate, format='camvid11')) if validate else []
    street = _street_images(settings.street_images)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{out} cannot be made a folder: {error.strerror}') from error
    images = TrainingImages(real, street, videos)
    trainer = SegmenterTrainer(settings, images, out / 'checkpoint.pt')
    with progress_bar('training', settings.steps) as bar:
        def every(step: int, model: ImageSegmenter) -> None:
            if held_out:
                console.print(f'step {step}: mIoU {_miou(model, held_out):.4f}')
        segmenter = trainer.run(bar, every)
    if settings.calibration_images and real:
        chosen = np.linspace(0, len(real) - 1, min(settings.calibration_images, len(real)))
        calibrate(segmenter, [real[int(index)] for index in chosen])
    with atomic_file(out / 'segmenter.safetensors') as temporary:
        write_segmenter(segmenter, temporary, settings.variant)
    console.print(f'wrote {out / "segmenter.safetensors"}')


def _read_images(sources: Sequence[FrameSource]) -> list[LabelledImage]:
    return [LabelledImage(item.frame.image, item.labels.astype(np.uint8, copy=False))
            for source in sources for item in source if item.labels is not None]


def _street_images(count: int) -> list[LabelledImage]:
    """Draw images, a few from each street, so that many streets are seen."""
    images = []
    with progress_bar('painting streets', count) as bar:
        for index in range(count):
            number, place = divmod(index, IMAGES_PER_STREET)
            if not place:
                street = SyntheticStreet(FIRST_TRAINING_SEED + number,
                                         IMAGES_PER_STREET * STREET_SPACING)
            item = street[place * STREET_SPACING]
            images.append(LabelledImage(item.frame.image, item.labels))
            bar.advance()
    return images


def _miou(model: ImageSegmenter, images: Sequence[LabelledImage]) -> float:
    matrix = ConfusionMatrix(len(DRIVING))
    for image in images:
        matrix.add(predict_labels(model, image.image), image.labels)
    return matrix.miou()
