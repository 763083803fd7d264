"""
What a training run is resumed from, written whole or not at all, and read.

torch reports a disk that is full as a `RuntimeError` about positions in a file; the `OSError`
that says why is what it was handling at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch

from vseg_ros.atomic import atomic_file, uninterrupted
from vseg_ros.errors import UserError


class Stateful(Protocol):
    """A model, an optimiser: what a run changes."""

    def state_dict(self) -> Any:
        """Return what is to be kept."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Take it back."""


def save_run(path: Path, step: int, parts: Mapping[str, Stateful]) -> None:
    """
    Keep a training run.

    Args:
        path: of the file.
        step: number of steps done.
        parts: all that the run changes, by name.

    Raises:
        UserError: as `write_checkpoint` does.

    """
    state = {name: part.state_dict() for name, part in parts.items()}
    write_checkpoint({'step': step} | state, path)


def resume_run(path: Path, parts: Mapping[str, Stateful], device: torch.device | str = 'cpu',
               ) -> int:
    """
    Put a training run back to where `save_run` left it.

    Args:
        path: of the file.
        parts: those of the run, changed in place.
        device: that the file's tensors are read to.

    Returns:
        number of steps done.

    Raises:
        UserError: the file is damaged, or of a run with other settings.

    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state['step'])
    except (OSError, EOFError, RuntimeError, LookupError, TypeError, ValueError,
            AttributeError, UnpicklingError) as error:
        raise UserError(f'{path} is damaged or of a run with other settings: delete it to '
                        'start over, or train into another folder') from error


def write_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """
    Write a file of `torch.save`; an older one stays as it is until the new one is whole.

    A Ctrl-C waits until it is.

    Raises:
        UserError: it cannot be written, as on a full disk; nothing half-written is left.

    """
    # torch makes an error of its own of an interruption, too.
    with uninterrupted(), atomic_file(path) as temporary, temporary.open('wb') as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:
            raise _cause(error) from error


def _cause(error: BaseException) -> BaseException:
    """Return the `OSError` that an error came of, or the error itself if there is none."""
    handled = error.__context__
    while handled is not None and not isinstance(handled, OSError):
        handled = handled.__context__
    return handled or error
