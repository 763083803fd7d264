"""
The small VIRST that is trained from scratch: what it is made of, and its file.

A small SAM 2 on the encoder of driving-b0, the small language model, both fusions on grids that
fit 24 x 24 features, and SAM 2's encoding of places added for the second one, which features of so
small an encoder lack. The file holds all but the encoder, in fp16, and describes itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from vseg_ros.errors import UserError
from vseg_ros.models.digest import digest
from vseg_ros.models.nano_sam2 import new_nano_sam2
from vseg_ros.models.stored_weights import read_weights, write_weights
from vseg_ros.training_settings import NanoVirstSettings as NanoVirstSettings
from vseg_ros.virst.frame_prompts import FramePrompter, ProjectedPrompts
from vseg_ros.virst.initial_fusion import InitialFusion
from vseg_ros.virst.model import Virst
from vseg_ros.virst.nano_language_model import NanoLanguageModel

ARCHITECTURE = 'virst-nano'
_ENCODER_KEYS = 'sam.vision_encoder.backbone.'


def new_nano_virst(settings: NanoVirstSettings, words: tuple[str, ...]) -> Virst:
    """
    Make a model with random weights on a trained encoder.

    Args:
        settings: architecture.
        words: the vocabulary of its language model.

    Raises:
        UserError: the encoder cannot be loaded.

    """
    cells = settings.side // 16
    language = NanoLanguageModel(settings.language, words)
    initial = InitialFusion(settings.width, language.width, settings.width,
                            _grid(cells, settings.initial_steps), settings.initial_steps,
                            settings.heads)
    prompter: FramePrompter | ProjectedPrompts
    if settings.single_fusion:
        prompter = ProjectedPrompts(language.width, settings.width)
    else:
        prompter = FramePrompter(language.width, settings.width, settings.width,
                                 _grid(cells, settings.refined_steps), settings.refined_steps,
                                 settings.heads, settings.layers, dropout=0.0, positions=True)
    sam = new_nano_sam2(settings.encoder, settings.side, settings.width)
    return Virst(sam, language, initial, prompter, several=False, frames=settings.frames,
                 coarse=not settings.single_fusion, anchors=settings.anchors)


def write_nano_virst(model: Virst, settings: NanoVirstSettings, path: Path) -> None:
    """Write all but the encoder, in fp16, with what is needed to read it again."""
    assert isinstance(model.language, NanoLanguageModel)
    metadata = {'architecture': ARCHITECTURE, 'settings': settings.model_dump_json(),
                'words': json.dumps(model.language.words),
                'encoder_digest': digest(model.sam.vision_encoder.backbone)}
    write_weights({key: value for key, value in model.state_dict().items()
                   if not key.startswith(_ENCODER_KEYS)}, path, metadata)


def read_nano_virst(path: Path) -> tuple[Virst, NanoVirstSettings]:
    """
    Read a model and its architecture: float32, on the CPU, in evaluation mode.

    Raises:
        UserError: the file is damaged or something else, or its encoder is not there.

    """
    state, metadata = read_weights(path)
    if metadata.get('architecture') != ARCHITECTURE:
        raise UserError(f'{path} holds no VIRST: give a file written by `vseg train virst` or a '
                        'folder written by `vseg convert virst`')
    try:
        settings = NanoVirstSettings.model_validate_json(metadata['settings'])
        words = tuple(json.loads(metadata['words']))
        with torch.random.fork_rng(devices=[]):
            model = new_nano_virst(settings, words)
        report: Any = model.load_state_dict(state, strict=False)
    except (KeyError, TypeError, ValueError, ValidationError, RuntimeError) as error:
        raise _unfit(path) from error
    if report.unexpected_keys or any(not key.startswith(_ENCODER_KEYS)
                                     for key in report.missing_keys):
        raise _unfit(path)
    if digest(model.sam.vision_encoder.backbone) != metadata.get('encoder_digest'):
        raise UserError(f'{path} was trained on another {settings.encoder} than the one that is '
                        'here: train it again, or bring back the old one')
    return model.eval().requires_grad_(False), settings


def _grid(cells: int, steps: int) -> int:
    for _ in range(steps):
        cells = -(-cells // 2)
    return cells


def _unfit(path: Path) -> UserError:
    return UserError(f'{path} does not fit its own metadata: it is damaged, train or copy it '
                     'again')
