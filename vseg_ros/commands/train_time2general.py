"""What `vseg train time2general` does: gather videos, train, write the head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vseg_ros.atomic import atomic_file
from vseg_ros.commands.progress import console, progress_bar
from vseg_ros.commands.train_segmenter import FIRST_TRAINING_SEED
from vseg_ros.datasets.formats import open_dataset
from vseg_ros.datasets.layout import Video
from vseg_ros.datasets.weather import WEATHERS, Weather
from vseg_ros.errors import UserError
from vseg_ros.evaluation.confusion import ConfusionMatrix
from vseg_ros.io.street import SyntheticStreet
from vseg_ros.labels import DRIVING
from vseg_ros.models.augmentation import LabelledImage
from vseg_ros.models.labelling import InputSize, resize_image, score_pixels
from vseg_ros.time2general.model import Time2General
from vseg_ros.time2general.saved import new_time2general, write_time2general
from vseg_ros.time2general.training import Time2GeneralTrainer
from vseg_ros.time2general.training_clips import TrainingVideos
from vseg_ros.training_settings import Time2GeneralTrainingSettings

STREET_FRAMES = 150
STREET_FPS = 15.0
WEATHER_SEVERITIES = (1, 2, 3, 4)


class FolderVideo(Sequence[LabelledImage]):
    """The labelled images of a folder, read when they are asked for."""

    def __init__(self, folder: Video) -> None:
        if folder.label_set != DRIVING:
            raise UserError(f'{folder.name} is not labelled with the driving classes: train on '
                            'another data set')
        self._folder = folder

    def __len__(self) -> int:
        return len(self._folder)

    def __getitem__(self, index: int) -> LabelledImage:  # type: ignore[override]
        item = self._folder[index]
        labels = item.labels
        if labels is None:
            labels = np.full(item.frame.size, DRIVING.ignore_id, np.uint8)
        return LabelledImage(item.frame.image, labels.astype(np.uint8, copy=False))


class StreetVideo(Sequence[LabelledImage]):
    """A drive down the synthetic street, painted when it is asked for."""

    def __init__(self, seed: int) -> None:
        self._street = SyntheticStreet(seed, STREET_FRAMES, fps=STREET_FPS)

    def __len__(self) -> int:
        return STREET_FRAMES

    def __getitem__(self, index: int) -> LabelledImage:  # type: ignore[override]
        item = self._street[index]
        return LabelledImage(item.frame.image, item.labels)


def train_time2general(settings: Time2GeneralTrainingSettings, out: Path,
                       validate: str | None) -> None:
    """
    Train Time2General.

    Args:
        settings: what to train and on what.
        out: folder for checkpoint.pt (resumed from), logs/ and time2general.safetensors.
        validate: folder in the camvid11 form that is scored at every checkpoint.

    Raises:
        UserError: a folder is missing or cannot be written, or a backbone cannot be loaded.

    """
    videos = gather_videos(settings)
    held_out = _validation_clips(validate, settings.model.clip_length) if validate else []
    model = new_time2general(settings.model, DRIVING)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{out} cannot be made a folder: {error.strerror}') from error
    trainer = Time2GeneralTrainer(settings, model, videos, out / 'checkpoint.pt', out / 'logs')
    trained = sum(each.numel() for each in model.head.parameters())
    console.print(f'{trained / 1e6:.2f} M parameters are trained on {settings.model.backbone}')
    with progress_bar('training', settings.steps) as bar:
        def every(step: int, result: Time2General) -> None:
            if held_out:
                console.print(f'step {step}: mIoU {_miou(result, held_out):.4f}')
        result = trainer.run(bar, every)
    with atomic_file(out / 'time2general.safetensors') as temporary:
        write_time2general(result, temporary)
    console.print(f'wrote {out / "time2general.safetensors"}')


def gather_videos(settings: Time2GeneralTrainingSettings) -> TrainingVideos:
    """
    Open what the settings train on.

    Raises:
        UserError: the source is missing or of another layout, or there is nothing at all.

    """
    source = []
    if settings.source:
        source = [FolderVideo(folder) for folder in open_dataset(settings.source, settings.format)]
    street = [StreetVideo(FIRST_TRAINING_SEED + number)
              for number in range(settings.street_videos)]
    if not source and not street:
        raise UserError('there is nothing to train on: name a source, or give street_videos')
    weathers = [Weather(name, severity) for name in WEATHERS for severity in WEATHER_SEVERITIES]
    return TrainingVideos(source, street, weathers if settings.weather_share else ())


def _validation_clips(folder: str, length: int) -> list[list[LabelledImage]]:
    """Cut the held out videos into clips without overlap; a short end is left out."""
    clips = []
    for source in open_dataset(folder, 'camvid11'):
        video = FolderVideo(source)
        clips += [[video[index] for index in range(start, start + length)]
                  for start in range(0, len(video) - length + 1, length)]
    if not clips:
        raise UserError(f'{folder} has no video of {length} frames to validate on: give a longer '
                        'one')
    return clips


def _miou(model: Time2General, clips: Sequence[Sequence[LabelledImage]]) -> float:
    import torch

    matrix = ConfusionMatrix(len(DRIVING))
    device = next(model.head.parameters()).device
    for clip in clips:
        wanted = InputSize(0, model.backbone.size_multiple).of((clip[0].labels.shape[0],
                                                                clip[0].labels.shape[1]))
        images = torch.from_numpy(
            np.stack([resize_image(each.image, wanted) for each in clip])).to(device)
        with torch.no_grad():
            logits = model(images[None])[0]
        for frame, each in zip(logits, clip, strict=True):
            size = each.labels.shape[0], each.labels.shape[1]
            matrix.add(score_pixels(frame[None], size).labels.cpu().numpy(), each.labels)
    return matrix.miou()
