"""
Weights in files of `torch.save`, opened without running code.

Only tensors and plain data are read. A checkpoint is either a dictionary of tensors or holds one
under a name; what training wrappers put before the names of tensors is taken away.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vseg_ros.errors import UserError

WRAPPER = 'module.'
"""What training on several GPUs puts before every name."""


def open_torch_file(file: Path, state: str = 'state_dict') -> Any:
    """
    Open a file of `torch.save`; tensors stay on the disk until they are used.

    Args:
        file: as the authors released it.
        state: where the weights are in it, for the message.

    Raises:
        UserError: there is no such file, it is damaged, or it holds more than tensors.

    """
    if not file.is_file():
        raise UserError(f'no checkpoint {file}: give the file that the authors released')
    try:
        # Only files in zip form can be mapped into memory.
        return torch.load(file, map_location='cpu', weights_only=True,
                          mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        if 'weights_only' in str(error).lower() or 'weights only' in str(error).lower():
            raise UserError(f'{file} holds more than tensors and may run code when it is opened, '
                            f'so it was not: save only its {state!r} with torch.save') from error
        raise UserError(f'{file} is cut short or no checkpoint: download it again') from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise UserError(f'{file} is cut short or no checkpoint: download it again') from error


def read_state(file: Path, names: Sequence[str] = ('state_dict', 'model')) -> dict[str, Tensor]:
    """
    Read the weights of a checkpoint.

    Args:
        file: of `torch.save`.
        names: where in it the weights may be; if it has none of these, it is itself the weights.

    Returns:
        weights by name, without `WRAPPER`.

    Raises:
        UserError: as in `open_torch_file`, or there are no weights in it.

    """
    content = open_torch_file(file, names[0])
    if isinstance(content, Mapping):
        content = next((content[name] for name in names if name in content), content)
    if not isinstance(content, Mapping) or not content or not all(
            isinstance(name, str) and isinstance(value, Tensor)
            for name, value in content.items()):
        raise UserError(f'{file} is no checkpoint: it has no {" or ".join(map(repr, names))} with '
                        'tensors')
    return {name.removeprefix(WRAPPER): value for name, value in content.items()}
