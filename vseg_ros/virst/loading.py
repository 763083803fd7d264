"""
Load a VIRST by name: the bundled small one, a file of the same kind, or a converted folder.

A folder is what `vseg convert virst` writes: `config.json` names the parts, which lie beside it.
The fusions are kept in float32, SAM 2 and the language model in the precision asked for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.models.runtime import select_dtype
from vseg_ros.models.sam2_tracker import load_model
from vseg_ros.models.weight_places import check_places, shapes_of
from vseg_ros.settings import Precision
from vseg_ros.virst.chat_language_model import ChatLanguageModel
from vseg_ros.virst.language_model import VideoLanguageModel
from vseg_ros.virst.model import Virst
from vseg_ros.virst.nano import read_nano_virst
from vseg_ros.virst.released_plan import frame_prompter, initial_fusion
from vseg_ros.virst.video_chat_flash import VideoChatFlash
from vseg_ros.weights import Weights, find_weights

FAMILIES: dict[str, type[VideoChatFlash] | type[ChatLanguageModel]] = {
    'video-chat-flash': VideoChatFlash, 'chat': ChatLanguageModel}
"""Language models by the name that a folder's config.json has for them."""


def load_virst(name: str, device: torch.device, precision: Precision = 'auto',
               four_bit: bool = False) -> Virst:
    """
    Load a model, ready to be used.

    Args:
        name: bundled name, file written by `vseg train virst`, or folder written by
            `vseg convert virst`.
        device: where it shall run.
        precision: of SAM 2 and a large language model; the small model is always float32.
        four_bit: whether a large language model is loaded in 4 bits, on CUDA only.

    Raises:
        UserError: nothing has that name, it is damaged or something else, or does not fit into
            the memory.

    """
    weights = find_weights(name)
    if weights.path is None:
        raise UserError(f'{name!r} is no VIRST: give a bundled name, a file written by '
                        '`vseg train virst`, or a folder written by `vseg convert virst`')
    if weights.kind == 'folder':
        model = _load_folder(weights.path, device, precision, four_bit)
    else:
        model = read_nano_virst(weights.path)[0].to(device)
    return model.eval().requires_grad_(False)


def _load_folder(folder: Path, device: torch.device, precision: Precision,
                 four_bit: bool) -> Virst:
    config = _read_config(folder)
    try:
        described = config['language_model']
        family = FAMILIES.get(described['family'])
        sam2 = folder / config['sam2']['folder']
        state = load_file(folder / config['fusion']['file'])
    except (KeyError, TypeError, OSError, SafetensorError) as error:
        raise UserError(f'{folder} lacks a part of its model ({error}): convert it '
                        'again') from error
    if family is None:
        raise UserError(f"{folder} has a language model of the family {described['family']!r}: "
                        f'known are {", ".join(FAMILIES)}; convert it again')
    language: VideoLanguageModel = family.load(str(folder / described['folder']), str(device),
                                               precision, four_bit)
    sam: Any = load_model(Weights(str(sam2), 'folder', sam2))
    first, second = (_part(state, name) for name in ('initial_fusion.', 'frame_prompts.'))
    try:
        initial, prompter = (initial_fusion(first, language.width),
                             frame_prompter(second, language.width))
    except KeyError as error:
        raise UserError(f'{folder} lacks {error} of its fusions: convert it again') from error
    for what, part, module in (('first fusion', first, initial),
                               ('second fusion', second, prompter)):
        check_places(f'the {what} of {folder}',
                     shapes_of(part), module, 'convert it again')
        module.load_state_dict({name: value.float() for name, value in part.items()})
    return Virst(sam.to(device, select_dtype(precision, device)), language, initial.to(device),
                 prompter.to(device))


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / 'config.json').read_text())
    except (OSError, ValueError) as error:
        raise UserError(f'{folder} has no readable config.json: give a folder written by '
                        '`vseg convert virst`') from error
    if not isinstance(config, dict) or config.get('model_type') != 'virst':
        raise UserError(f'{folder} holds no VIRST: give a folder written by `vseg convert virst`')
    return config


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items()
            if name.startswith(prefix)}
