"""What `vseg train tracker` does: gather clips, train a small SAM 2 on them, write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Sam2VideoModel

from vseg_ros.atomic import atomic_file
from vseg_ros.commands.progress import console, progress_bar
from vseg_ros.commands.tracking_clips import JoinedClips, PannedClips, StreetClips
from vseg_ros.errors import UserError
from vseg_ros.io.image_folder import camvid11_sources
from vseg_ros.models.digest import digest
from vseg_ros.models.encoded_clips import EncodedClips
from vseg_ros.models.nano_sam2 import new_nano_sam2, read_nano_sam2, write_nano_sam2
from vseg_ros.models.sam2_network import Sam2Network
from vseg_ros.models.tracker_training import TrackerTrainer, check_prompts
from vseg_ros.training_settings import TrackerTrainingSettings
from vseg_ros.weights import find_weights

RESULT = 'nano-sam2.safetensors'


def train_tracker(settings: TrackerTrainingSettings, out: Path, folder: Path) -> None:
    """
    Train a small SAM 2.

    Args:
        settings: what to train and on what.
        out: folder for checkpoint.pt (resumed from) and nano-sam2.safetensors.
        folder: where encoded clips are kept; filled with those that are missing.

    Raises:
        UserError: a folder is missing, cannot be written or belongs to another run, or weights
            cannot be loaded.

    """
    check_prompts(settings)
    sources = gather_clips(settings)
    torch.manual_seed(settings.seed)
    model = first_model(settings, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{out} cannot be made a folder: {error.strerror}') from error
    clips = EncodedClips(folder, sources, Sam2Network(model), settings.clip_length,
                         describe_clips(settings))
    trainer = TrackerTrainer(settings, model, clips, out / 'checkpoint.pt')
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    console.print(f'{trained / 1e6:.2f} M parameters are trained on {len(clips)} clips, as '
                  f'{settings.encoder} sees them; they are encoded when they are first drawn')
    with progress_bar('training', settings.steps) as bar:
        result = trainer.run(bar)
    with atomic_file(out / RESULT) as temporary:
        write_nano_sam2(result, temporary, settings.encoder)
    console.print(f'wrote {out / RESULT}')


def gather_clips(settings: TrackerTrainingSettings) -> JoinedClips:
    """
    Open what the settings train on.

    Raises:
        UserError: the folder of images is missing or of another layout, or there is nothing.

    """
    sources: list[StreetClips | PannedClips] = [
        StreetClips(settings.street_clips, settings.clip_length)]
    if settings.camvid:
        sources.append(PannedClips(camvid11_sources(settings.camvid), settings.pan_clips,
                                   settings.clip_length))
    clips = JoinedClips(*sources)
    if not len(clips):
        raise UserError('there is nothing to train on: give street_clips, or camvid and pan_clips')
    return clips


def describe_clips(settings: TrackerTrainingSettings) -> str:
    """Say which clips the settings train on, to tell folders of encoded ones apart."""
    pans = settings.pan_clips if settings.camvid else 0
    images = f' over {Path(settings.camvid).resolve()}' if pans else ''
    return f'{settings.street_clips} streets and {pans} pans{images}'


def first_model(settings: TrackerTrainingSettings, out: Path) -> Sam2VideoModel:
    """
    Make the model to train: with random weights, or those of an earlier run.

    Args:
        settings: name the encoder and the earlier run.
        out: folder of this run, which must not be that of the earlier one.

    Raises:
        UserError: weights cannot be loaded, or are of another encoder or of this very run.

    """
    if not settings.start_from:
        return new_nano_sam2(settings.encoder)
    path = find_weights(settings.start_from).path
    if path is None or not path.is_file():
        raise UserError(f'start_from {settings.start_from} is no file: give one written by '
                        '`vseg train tracker`')
    if path.resolve().parent == out.resolve():
        raise UserError(f'start_from {path} lies in {out}, whose own run would go on instead: '
                        'give another --out')
    earlier: Any = read_nano_sam2(path)
    model: Any = new_nano_sam2(settings.encoder, earlier.config.image_size,
                               earlier.config.memory_attention_hidden_size)
    if digest(model.vision_encoder.backbone) != digest(earlier.vision_encoder.backbone):
        raise UserError(f'start_from {path} was trained on another encoder than '
                        f'{settings.encoder}: name its own with -p encoder=NAME')
    model.load_state_dict(earlier.state_dict())
    made: Sam2VideoModel = model
    return made
