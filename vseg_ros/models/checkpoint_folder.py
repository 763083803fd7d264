"""A folder with a converted checkpoint: written whole or not at all."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vseg_ros.atomic import AtomicOutput, writing

WEIGHTS = 'model.safetensors'
"""The file that transformers reads weights from."""


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """
    Write a folder; an older one is replaced once the block is through.

    Yields:
        A new and empty folder to write to. The block does nothing but write.

    Raises:
        UserError: it cannot be written; nothing is left behind then.

    """
    output = AtomicOutput(out, folder=True)
    try:
        with writing(out):
            output.temporary.mkdir()
            yield output.temporary
        output.commit()
    except BaseException:
        output.discard()
        raise


def save_weights(state: Mapping[str, Tensor], file: Path) -> None:
    """
    Write weights as they are into a safetensors file in the form of transformers.

    Raises:
        OSError: it cannot be written, as on a full disk.

    """
    # Tensors that share memory, and views of larger ones, cannot be written as they are.
    own = {name: value.clone(memory_format=torch.contiguous_format)
           for name, value in state.items()}
    try:
        save_file(own, file, metadata={'format': 'pt'})
    except SafetensorError as error:
        # The system's own error is only a number in its text.
        number = re.search(r'os error (\d+)', str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(file)) from error
