"""
From a name to weights: a bundled file, a local path, or a hub id.

A name is looked up in that order. What is bundled lies in `assets/` as fp16 safetensors with its
architecture and class names in the file's metadata. What is missing is named together with the
way to get it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vseg_ros.errors import UserError

ASSETS = Path(__file__).parent / 'assets'
BUNDLED = {
    'driving-b0': 'SegFormer-B0, 15 driving classes, trained on the synthetic street and CamVid',
    'driving-t2g': 'Time2General on the encoder of driving-b0, 15 driving classes, any weather',
    'nano-sam2': 'small SAM 2 on the encoder of driving-b0, follows things in streets',
    'virst-nano': 'small VIRST on the encoder of driving-b0, for sentences about streets',
}
"""Names of the bundled weights and what they are."""
HUB_ID = re.compile(r'\w[\w.-]*/\w[\w.-]*')
FILE_SUFFIXES = ('.safetensors', '.pt', '.pth', '.ckpt', '.bin', '.onnx')
"""What makes `folder/name` a file that is not there rather than a hub id."""


@dataclass(frozen=True)
class Weights:
    """
    Where weights are.

    Attributes:
        name: as the user gave it.
        kind: 'bundled' and 'file' name a safetensors file of this package's own form, 'folder'
            a model saved by transformers, 'hub' an id that transformers downloads.
        path: the file or folder; None for a hub id.

    """

    name: str
    kind: Literal['bundled', 'file', 'folder', 'hub']
    path: Path | None


def find_weights(name: str) -> Weights:
    """
    Look up weights by bundled name, local path or hub id.

    Raises:
        UserError: nothing has that name; the line lists the bundled names.

    """
    if name in BUNDLED:
        return Weights(name, 'bundled', bundled_path(name))
    path = Path(os.path.expanduser(name))
    if name and path.is_dir():
        return Weights(name, 'folder', path)
    if path.is_file():
        return Weights(name, 'file', path)
    if HUB_ID.fullmatch(name) and path.suffix not in FILE_SUFFIXES:
        return Weights(name, 'hub', None)
    raise UserError(f'no weights named {name!r}: give a bundled name ({", ".join(BUNDLED)}), an '
                    'existing file or folder, or a hub id such as owner/model')


def bundled_path(name: str) -> Path:
    """
    Path of a bundled file.

    Raises:
        UserError: the name is not bundled, or the installation lacks the file.

    """
    if name not in BUNDLED:
        raise UserError(f'no bundled weights named {name!r}: there are {", ".join(BUNDLED)}')
    path = ASSETS / f'{name}.safetensors'
    if not path.is_file():
        raise UserError(f'the bundled weights {name} are missing from this installation: '
                        'reinstall vseg_ros')
    return path


def hub_advice(hub_id: str) -> str:
    """Say in one line how to get a hub checkpoint onto a machine without a network."""
    return (f'cannot load {hub_id!r} from the hub: on a machine with a network run '
            f'`hf download {hub_id} --local-dir DIR`, copy DIR here and give its path instead')
