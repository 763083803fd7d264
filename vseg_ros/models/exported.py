"""
Models that `vseg export` wrote, opened for running: without torch, on a CPU, CUDA or TensorRT.

An exported file says in its metadata what it is; whatever is not the file that was meant, a
provider that is missing or an image that does not fit ends in one line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from vseg_ros.errors import UserError
from vseg_ros.models.cache import cache_folder

CPU_PROVIDER = 'CPUExecutionProvider'
CUDA_PROVIDER = 'CUDAExecutionProvider'
TENSORRT_PROVIDER = 'TensorrtExecutionProvider'
_GPU_PROVIDERS = {'cuda': [CUDA_PROVIDER], 'tensorrt': [TENSORRT_PROVIDER, CUDA_PROVIDER]}
DYNAMIC = 'dynamic'
"""Stands in the metadata for a size that is free."""


def size_property(size: tuple[int, int] | None) -> str:
    """Return the `size` in the metadata of a model for images of that height and width."""
    return DYNAMIC if size is None else f'{size[0]}x{size[1]}'


@dataclass(frozen=True)
class ExportKind:
    """
    A sort of exported files.

    Attributes:
        form: the `format` in their metadata: method and version of inputs and outputs.
        method: its name, for messages.
        command: what writes them, for messages.

    """

    form: str
    method: str
    command: str


def session_options(threads: int = 0) -> onnxruntime.SessionOptions:
    """Return options of a session with so many threads; 0 takes one for each core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # threads that spin while they wait take the processor from what runs between two frames
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return options


class ExportedModel:
    """
    An exported file that is open.

    Args:
        path: the file.
        kind: what the file must be.
        providers: of onnxruntime, the preferred first; one of them must start.
        threads: on a CPU; 0 takes one for each core.
        engine_cache: folder where TensorRT keeps its engines, whose making takes minutes; None
            is one in the user's cache.
        gpu: number of the GPU.

    Attributes:
        session: runs the graph.
        properties: what the file says about itself.
        device: where the graph runs, 'cuda' or 'cpu'.

    Raises:
        UserError: a provider is missing or does not start, there is no such file, or it is
            damaged or something else.

    """

    def __init__(self, path: Path, kind: ExportKind, providers: Sequence[str] = (CPU_PROVIDER,),
                 *, threads: int = 0, engine_cache: Path | None = None, gpu: int = 0) -> None:
        there = onnxruntime.get_available_providers()
        for provider in providers:
            if provider not in there:
                raise UserError(f'onnxruntime has no {provider} here, only {", ".join(there)}: '
                                'install the onnxruntime that has it, or choose another')
        self.properties = read_metadata(path, kind)
        half = self.properties.get('precision') == 'float16'
        chosen = [(provider, provider_options(provider, engine_cache, gpu, half))
                  for provider in providers]
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), session_options(threads), providers=chosen)
        except Exception as error:  # onnxruntime's own exceptions share no base class
            raise UserError(f'{path} cannot be read as ONNX: export it again') from error
        started = self.session.get_providers()
        if not set(providers) & set(started):
            raise UserError(f'{" and ".join(providers)} cannot start here: libraries or a driver '
                            'are missing, or choose another provider')
        self.device = 'cpu' if started[0] == CPU_PROVIDER else 'cuda'

    def require_image(self, image: NDArray[Any]) -> tuple[int, int]:
        """
        Return height and width of an image that the model takes.

        Args:
            image: should be uint8 [H, W, 3].

        Raises:
            UserError: it is no such image, or not of a size that the model was exported for.

        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(f'an image must be uint8 [H, W, 3], not {image.dtype} '
                            f'{list(image.shape)}')
        height, width = image.shape[:2]
        size, multiple = self.properties['size'], int(self.properties['size_multiple'])
        if size not in (DYNAMIC, size_property((height, width))) or not height * width or (
                height % multiple or width % multiple):
            wanted = f'multiples of {multiple}' if size == DYNAMIC else size
            raise UserError(f'an image of {height}x{width} does not fit the exported model: '
                            f'resize it to {wanted}')
        return height, width


def read_metadata(path: Path, kind: ExportKind) -> dict[str, str]:
    """
    Read what an exported file says about itself.

    Raises:
        UserError: there is no such file, it is no ONNX, or it is something else.

    """
    if not path.is_file():
        raise UserError(f'there is no file {path}: write one with `{kind.command}`')
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # what it raises depends on where the file breaks
        raise UserError(f'{path} cannot be read as ONNX: export it again') from error
    properties = {entry.key: entry.value for entry in model.metadata_props}
    if properties.get('format') != kind.form:
        raise UserError(f'{path} is no {kind.method} of this version: write it with '
                        f'`{kind.command}`')
    return properties


def providers_for(device: str) -> tuple[list[str], int]:
    """
    Turn a `device` setting into providers, the preferred first, and the number of the GPU.

    Args:
        device: 'auto' (a GPU if onnxruntime finds one), 'cpu', 'cuda', 'cuda:N', 'tensorrt' or
            'tensorrt:N'.

    Raises:
        UserError: it is none of these.

    """
    name, _, number = device.partition(':')
    if (device in ('auto', 'cpu') or (name in _GPU_PROVIDERS and (
            number.isdecimal() or device == name))):
        providers = _GPU_PROVIDERS.get(name, [])
        if device == 'auto' and CUDA_PROVIDER in onnxruntime.get_available_providers():
            providers = [CUDA_PROVIDER, CPU_PROVIDER]
        return providers or [CPU_PROVIDER], int(number or 0)
    raise UserError(f'device {device!r} is unknown to an exported model: use auto, cpu, cuda, '
                    'cuda:N, tensorrt or tensorrt:N')


def provider_options(provider: str, engine_cache: Path | None = None, gpu: int = 0,
                     half: bool = False) -> dict[str, str]:
    """
    Return onnxruntime's options for a provider.

    Args:
        provider: its name.
        engine_cache: as for `ExportedModel`.
        gpu: number of the GPU.
        half: let TensorRT compute in float16.

    """
    if provider == CPU_PROVIDER:
        return {}
    options = {'device_id': str(gpu)}
    if provider == TENSORRT_PROVIDER:
        folder = cache_folder() / 'tensorrt' if engine_cache is None else engine_cache
        options |= {'trt_engine_cache_enable': 'True', 'trt_engine_cache_path': str(folder),
                    'trt_fp16_enable': str(half)}
    return options
