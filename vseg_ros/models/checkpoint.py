"""
What a training run is resumed from, written whole or not at all.

torch reports a disk that is full as a `RuntimeError` about positions in a file; the `OSError`
that says why is what it was handling at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vseg_ros.atomic import atomic_file, uninterrupted


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
