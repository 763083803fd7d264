"""
Meta's SAM 2 and 2.1 checkpoints as folders of transformers' `Sam2VideoModel`.

    sam2.1_hiera_large.pt -> OUT/config.json, OUT/model.safetensors

Size and version are told from the weights: width and number of blocks name the Hiera; a projection
of the object pointers' age and an embedding of hidden objects are what 2.1 has and 2.0 has not.
The networks are the same, so that masks are too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import Sam2VideoConfig, Sam2VideoModel

from vseg_ros.atomic import refuse_same
from vseg_ros.errors import UserError
from vseg_ros.models.checkpoint_folder import WEIGHTS, new_folder, save_weights
from vseg_ros.models.pretrained import find_pretrained, read_config
from vseg_ros.models.sam2_keys import known_config, transformers_sam2
from vseg_ros.models.torch_file import read_state
from vseg_ros.models.weight_places import check_places, shapes_of

WHAT = 'SAM 2 model'


def convert_sam2(checkpoint: Path, out: Path, config: str | None = None) -> None:
    """
    Write a checkpoint of Meta's as a folder that `tracker` takes, whole or not at all.

    Args:
        checkpoint: Meta's file, its weights under 'model'.
        out: folder to write; an older one is replaced.
        config: folder or hub id with the configuration; None tells the published ones by their
            size.

    Raises:
        UserError: the file is missing, damaged, or of another model, or `out` cannot be written;
            nothing is left behind then.

    """
    refuse_same(checkpoint, out)
    state = transformers_sam2(read_state(checkpoint, ('model', 'state_dict')))
    found = known_config(state) if config is None else sam2_config(config)
    with torch.device('meta'):
        check_places('SAM 2', shapes_of(state), Sam2VideoModel(found))
    with new_folder(out) as folder:
        write_sam2(state, found, folder)


def sam2_config(name: str) -> Sam2VideoConfig:
    """
    Read the configuration of a SAM 2.

    Args:
        name: folder or hub id.

    Raises:
        UserError: it cannot be read, or is another model's.

    """
    config = read_config(find_pretrained(name, WHAT), WHAT)
    if not isinstance(config, Sam2VideoConfig):
        raise UserError(f'{name} is no configuration of a SAM 2 video model: give one, such as '
                        'facebook/sam2.1-hiera-large')
    return config


def write_sam2(state: Mapping[str, Tensor], config: Sam2VideoConfig, folder: Path) -> None:
    """Write weights, in transformers' names, and configuration into a folder that is there."""
    config.architectures = [Sam2VideoModel.__name__]
    config.save_pretrained(folder)
    save_weights(state, folder / WEIGHTS)
