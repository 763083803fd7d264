"""
What `vseg train virst` does: gather clips with sentences, train one stage, write the model.

The stages of one model share a folder: each writes `stageN.safetensors` there, which the next one
goes on with, and keeps `stageN.pt` to be resumed from. What the frozen encoder makes of the clips
is kept there too, for all stages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from vseg_ros.atomic import atomic_file
from vseg_ros.commands.progress import console, progress_bar
from vseg_ros.commands.referring_clips import FOUND, QuestionedVideos, ReferringVideos
from vseg_ros.commands.street_questions import QuestionedStreets
from vseg_ros.commands.tracking_clips import StreetClips
from vseg_ros.commands.train_segmenter import FIRST_TRAINING_SEED
from vseg_ros.datasets.referring_formats import open_referring
from vseg_ros.datasets.street_queries import vocabulary
from vseg_ros.datasets.street_queries.claims import CLAIMS
from vseg_ros.errors import UserError
from vseg_ros.models.encoded_clips import EncodedClips
from vseg_ros.models.nano_sam2 import read_nano_sam2
from vseg_ros.settings_reading import read_values, settings_from_values
from vseg_ros.training_settings import NanoVirstSettings, VirstTrainingSettings
from vseg_ros.virst.model import Virst
from vseg_ros.virst.nano import new_nano_virst, read_nano_virst, write_nano_virst
from vseg_ros.virst.training import VirstTrainer
from vseg_ros.virst.training_batches import QuestionedClips
from vseg_ros.weights import find_weights
from vseg_ros.words import split_words

STAGES = range(4)
IMAGE_KINDS = ('class', 'colour', 'side', 'order', 'distance', 'size', 'negative')
"""Kinds of sentences about the street that a single image can answer: those of stage 2."""
_KEPT = '(a model that is gone on with keeps its own)'
_OWN = re.compile(r'stage(\d)\.(.+)')


def stage_settings(stage: int, file: Path | None, overrides: Sequence[str] = ()
                   ) -> VirstTrainingSettings:
    """
    Read the settings of a stage: the file's shared ones, its own (`stageN.name`), overrides.

    Raises:
        UserError: as in `load_settings`, for this stage or another of the file.

    """
    values = read_values(file, ())
    own = {name: match for name in values if (match := _OWN.fullmatch(name))}
    shared = {name: value for name, value in values.items() if name not in own}
    for match in own.values():
        if int(match[1]) not in STAGES:
            raise UserError(f'no setting {match[0]!r}: there are the stages 0 to 3')
    stages = {}
    for number in STAGES:
        its = {match[2]: values[name] for name, match in own.items() if int(match[1]) == number}
        later = read_values(None, overrides) if number == stage else {}
        stages[number] = settings_from_values(
            VirstTrainingSettings, {**shared, **its, **later, 'stage': number})
    return stages[stage]


def train_virst(settings: VirstTrainingSettings, out: Path, start_from: str | None = None) -> None:
    """
    Train one stage.

    Args:
        settings: of the stage.
        out: folder for stageN.pt (resumed from), stageN.safetensors and the encoded clips.
        start_from: model to go on with; None takes what the stage before wrote into `out`, and
            without that begins with random weights.

    Raises:
        UserError: a folder or file is missing, damaged or cannot be written, there is nothing to
            train on, or the model is a large one.

    """
    videos, words = _gather_videos(settings)
    torch.manual_seed(settings.seed)
    model, architecture = _first_model(settings, out, start_from, words)
    _check_hints(settings, architecture)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{out} cannot be made a folder: {error.strerror}') from error
    clips = _encoded(settings, videos, model, out / 'clips')
    name = f'stage{settings.stage}'
    trainer = VirstTrainer(settings, model, clips, out / f'{name}.pt')
    learning = sum(each.numel() for each in model.parameters() if each.requires_grad)
    console.print(f'stage {settings.stage}: {learning / 1e6:.2f} M parameters learn from '
                  f'{len(clips)} clips')
    with progress_bar('training', settings.steps) as bar:
        result = trainer.run(bar)
    with atomic_file(out / f'{name}.safetensors') as temporary:
        write_nano_virst(result, architecture, temporary)
    console.print(f'wrote {out / f"{name}.safetensors"}')


def _gather_videos(settings: VirstTrainingSettings
                   ) -> tuple[StreetClips | ReferringVideos, tuple[str, ...]]:
    """Open what is trained on; also returns the words that a new model learns."""
    if not settings.source:
        return StreetClips(settings.street_clips, settings.clip_length), vocabulary()
    sentences = open_referring(settings.source, settings.format, settings.split)
    longest = max(len(clip) for clip in sentences)
    met = {word for clip in sentences for word in split_words(clip.expression)}
    words = tuple(dict.fromkeys((*vocabulary(), *split_words(FOUND), *sorted(met))))
    return ReferringVideos(sentences, min(settings.clip_length, longest)), words


def _first_model(settings: VirstTrainingSettings, out: Path, start_from: str | None,
                 words: tuple[str, ...]) -> tuple[Virst, NanoVirstSettings]:
    """Read or make the model that the stage begins with; everything in it may learn."""
    before = out / f'stage{settings.stage - 1}.safetensors'
    if start_from is not None or before.is_file():
        model, architecture = read_nano_virst(_small_model(start_from or str(before)))
        console.print(f'going on with {start_from or before}')
        return model.requires_grad_(True), architecture
    try:
        model = new_nano_virst(settings.model, words)
    except ValueError as error:
        raise UserError(f'there is no model with these settings: {error}') from error
    if settings.tracker:
        _take_tracker(model, Path(settings.tracker))
    console.print(f'{len(words)} words; beginning with random weights')
    return model, settings.model


def _check_hints(settings: VirstTrainingSettings, architecture: NanoVirstSettings) -> None:
    """Refuse a loss that could not be computed, or would be 0 all the time."""
    hints = {'claims': settings.claims, 'things': settings.things, 'choice': settings.choice}
    for name, weight in hints.items():
        if weight and settings.source:
            raise UserError(f'{name} is {weight}, but only the synthetic street knows what its '
                            f'things are: set {name} to 0, or leave source empty')
    language = architecture.language
    if settings.claims and language.claims != CLAIMS:
        raise UserError(f'claims is {settings.claims}, but the model tells {language.claims} of '
                        f'the {CLAIMS} claims of the street: set model.language.claims to '
                        f'{CLAIMS}, or claims to 0 {_KEPT}')
    if settings.things and not language.things:
        raise UserError(f'things is {settings.things}, but the model does not tell which of its '
                        'visual tokens show the same thing: set model.language.things to 64, or '
                        f'things to 0 {_KEPT}')


def _small_model(name: str) -> Path:
    weights = find_weights(name)
    if weights.kind == 'folder':
        raise UserError(f'{name} is a large model, and only the small VIRST can be trained: a '
                        'large one would have to see the images themselves, where clips are kept '
                        'as the small encoder sees them; give a file of `vseg train virst`')
    if weights.path is None:
        raise UserError(f'there is no model {name}: give a bundled name or a file written by '
                        '`vseg train virst`')
    return weights.path


def _take_tracker(model: Virst, path: Path) -> None:
    """Begin with a SAM 2 that is trained already."""
    tracker = read_nano_sam2(path)
    try:
        model.sam.load_state_dict(tracker.state_dict())
    except RuntimeError as error:
        raise UserError(f'{path} is a SAM 2 of another size: set model.side and model.width to '
                        'those it was trained with') from error
    if tracker.config.image_size != model.sam.config.image_size:
        raise UserError(f'{path} sees {tracker.config.image_size} pixels: set model.side to that')


def _encoded(settings: VirstTrainingSettings, videos: StreetClips | ReferringVideos,
             model: Virst, folder: Path) -> QuestionedClips:
    """Let the frozen encoder see the clips, each once for all stages and runs."""
    name, source = 'street', f'street from {FIRST_TRAINING_SEED}'
    length = settings.clip_length
    if isinstance(videos, ReferringVideos):
        name, source = f'{settings.format}-{settings.split}', str(Path(settings.source).resolve())
        length = videos.length
    kept = EncodedClips(folder / f'{name}-{len(videos)}x{length}', videos, model.network(),
                        length, source)
    if isinstance(videos, ReferringVideos):
        return QuestionedVideos(kept)
    return QuestionedStreets(kept, kinds=IMAGE_KINDS if settings.stage == 2 else None)
