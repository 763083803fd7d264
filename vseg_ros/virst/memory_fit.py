"""
Large models: is there room for them, and loading them into it.

What a checkpoint needs is read from the headers of its safetensors files, before any weight is:
parameters times the bytes of the number format, plus `OVERHEAD` of it and `WORKING` for what
arises while it runs. In 4 bits (NF4 of bitsandbytes, CUDA only) the linear layers of the blocks
take half a byte a parameter and a scale every 64; embeddings and norms stay as they are.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download
from torch import nn

from vseg_ros.errors import UserError
from vseg_ros.models.pretrained import explained, find_pretrained
from vseg_ros.models.runtime import select_device, select_dtype
from vseg_ros.settings import Precision
from vseg_ros.weights import hub_advice

OVERHEAD = 0.1
"""Share of the weights that buffers, fragments and the cache of keys and values need on top."""

WORKING = 1 << 30
"""Bytes for activations and for what CUDA itself takes."""

FOUR_BIT_BYTES = 0.5 + 4 / 64
"""Bytes of a parameter in NF4: half a byte and a float32 scale every 64."""

GIB = 1 << 30


def local_folder(name: str, what: str) -> Path:
    """
    Return the folder of a checkpoint; one of the hub is downloaded into the hub's cache.

    Args:
        name: a folder or a hub id.
        what: the kind of checkpoint, for the message.

    Raises:
        UserError: nothing has that name, or the hub cannot be reached.

    """
    weights = find_pretrained(name, what)
    if weights.path is not None:
        return weights.path
    try:
        return Path(snapshot_download(name, allow_patterns=['*.json', '*.safetensors', '*.txt',
                                                            '*.model', '*.jinja']))
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(hub_advice(name)) from error


def needed_bytes(folder: Path, dtype: torch.dtype, four_bit: bool = False) -> int:
    """
    Compute what a checkpoint's weights need once they are loaded, without overhead.

    Raises:
        UserError: the folder has no safetensors files, or one is damaged.

    """
    total = 0.0
    for name, shape in tensor_shapes(folder):
        packed = four_bit and len(shape) == 2 and '.layers.' in f'.{name}'
        total += math.prod(shape) * (FOUR_BIT_BYTES if packed else dtype.itemsize)
    return int(total)


def tensor_shapes(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """
    Read names and shapes of all tensors from the headers of a folder's safetensors files.

    Raises:
        UserError: there is none, or one is damaged.

    """
    files = sorted(folder.glob('*.safetensors'))
    if not files:
        raise UserError(f'{folder} holds no safetensors files: give the folder of a checkpoint')
    for file in files:
        for name, entry in read_header(file).items():
            yield name, entry['shape']


def read_header(file: Path) -> dict[str, dict[str, Any]]:
    """
    Read what a safetensors file says it holds, and check that it holds all of it.

    Raises:
        UserError: it cannot be read, or is shorter than its header says.

    """
    try:
        with file.open('rb') as stream:
            length = int.from_bytes(stream.read(8), 'little')
            start = 8 + length
            size = file.stat().st_size
            header = json.loads(stream.read(length)) if start <= size else None
        assert isinstance(header, dict)
        header.pop('__metadata__', None)
        assert all(start + entry['data_offsets'][1] <= size for entry in header.values())
    except (OSError, ValueError, AssertionError, KeyError, TypeError) as error:
        raise UserError(f'{file} is cut short or no safetensors file: download it '
                        'again') from error
    return cast('dict[str, dict[str, Any]]', header)


def available_bytes(device: torch.device) -> int:
    """Return how much memory is free on a device."""
    if device.type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open('/proc/meminfo', encoding='ascii') as lines:
            values = dict(line.split(':', 1) for line in lines)
        return int(values['MemAvailable'].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux: what there is stands for what is free
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def check_fits(folder: Path, device: torch.device, dtype: torch.dtype,
               four_bit: bool = False) -> None:
    """
    Check that there is room for a checkpoint before it is loaded.

    Raises:
        UserError: there is not; the line says what is needed and what there is.

    """
    weights = needed_bytes(folder, dtype, four_bit)
    needed, free = int(weights * (1 + OVERHEAD)) + WORKING, available_bytes(device)
    if needed <= free:
        return
    form = '4 bits' if four_bit else str(dtype).removeprefix('torch.')
    advice = 'choose a smaller model or a larger device'
    if dtype == torch.float32:
        advice = 'set precision to bfloat16 or choose a smaller model'
    elif device.type == 'cuda' and not four_bit:
        advice = 'load it in 4 bits or choose a smaller model'
    raise UserError(f'{folder} needs {needed / GIB:.1f} GiB of memory on {device} '
                    f'({weights / GIB:.1f} GiB of weights in {form} and the rest to work with), '
                    f'but {free / GIB:.1f} GiB are free: {advice}')


def check_four_bit(device: torch.device) -> None:
    """
    Check that weights can be loaded in 4 bits.

    Raises:
        UserError: the device is not CUDA, or bitsandbytes is not installed.

    """
    if device.type != 'cuda':
        raise UserError(f'4-bit weights need a CUDA device, not {device}: load the model without '
                        'them')
    if importlib.util.find_spec('bitsandbytes') is None:
        raise UserError('4-bit weights need a package that is not installed: '
                        'pip install bitsandbytes')


def load_fitting(model_class: Any, folder: Path, what: str, device: str = 'auto',
                 precision: Precision = 'auto', four_bit: bool = False) -> nn.Module:
    """
    Load a model of transformers if there is room for it.

    Args:
        model_class: the class.
        folder: of the checkpoint.
        what: the kind of checkpoint, for messages.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        precision: 'auto' is float32 on a CPU and bfloat16 on a GPU.
        four_bit: whether the linear layers are loaded in 4 bits.

    Returns:
        The model on its device, in eval mode and without gradients.

    Raises:
        UserError: the device is not there, there is no room, or the checkpoint is damaged or
            lacks weights.

    """
    place = select_device(device)
    dtype = select_dtype(precision, place)
    options: dict[str, Any] = {'dtype': dtype}
    if four_bit:
        check_four_bit(place)
        from transformers import BitsAndBytesConfig
        in_four_bits: Any = BitsAndBytesConfig
        options['quantization_config'] = in_four_bits(
            load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_compute_dtype=dtype)
    check_fits(folder, place, dtype, four_bit)
    with explained(find_pretrained(str(folder), what), what):
        model, report = model_class.from_pretrained(
            str(folder), output_loading_info=True, device_map={'': place}, **options)
    if report['missing_keys']:
        raise UserError(f'{folder} lacks {len(report["missing_keys"])} of the weights of a '
                        f'{what}: download it again')
    loaded: nn.Module = model.eval().requires_grad_(False)
    return loaded
