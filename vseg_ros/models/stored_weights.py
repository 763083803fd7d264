"""Weights as this package stores them: one safetensors file in fp16 that describes itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vseg_ros.errors import UserError
from vseg_ros.failure import first_line


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """
    Read a file.

    Returns:
        weights in float32 by name, and the file's metadata.

    Raises:
        UserError: it cannot be read.

    """
    try:
        with safe_open(path, framework='pt') as stored:
            state = {key: stored.get_tensor(key).float() for key in stored.keys()}  # noqa: SIM118
            return state, stored.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f'{path} cannot be read as safetensors ({first_line(error)}): train or '
                        'copy it again') from error


def write_weights(state: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a file; whole numbers stay as they are, all else becomes fp16."""
    halved = {key: value.half() if value.is_floating_point() else value
              for key, value in state.items()}
    stored = {key: value.contiguous().cpu() for key, value in halved.items()}
    # Written by Python, so that a full disk is an OSError.
    path.write_bytes(save(stored, metadata))
