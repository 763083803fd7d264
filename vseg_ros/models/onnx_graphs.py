"""
Graphs for onnxruntime: export from torch, a cache for what takes long to export, and sessions.

An exported graph is kept in the user's cache folder under a digest of everything it depends on:
weights, architecture, and the versions of torch and of the code that made it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')

import onnxruntime
import torch
from torch import Tensor, nn

from vseg_ros.atomic import writing
from vseg_ros.errors import UserError
from vseg_ros.failure import first_line
from vseg_ros.models.cache import cache_folder
from vseg_ros.models.exported import CPU_PROVIDER, session_options

logger = logging.getLogger(__name__)

OPSET = 20
"""The newest that TensorRT 10 reads from its first release on."""
_EXAMPLE = (128, 192)

Runtime = TypeVar('Runtime')


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU with as many threads as torch has."""
    return onnxruntime.InferenceSession(str(path), session_options(torch.get_num_threads()),
                                        providers=[CPU_PROVIDER])


def require_exportable(name: str, size: tuple[int, int] | None, multiple: int, classes: int,
                       ) -> None:
    """
    Check that a segmenting model can become a graph of its own.

    Args:
        name: of the model, for messages.
        size: height and width of the images; None leaves them free.
        multiple: of which both must be.
        classes: their number.

    Raises:
        UserError: the size does not fit, or the labels do not fit in uint8.

    """
    if size is not None and (min(size) < multiple or size[0] % multiple or size[1] % multiple):
        raise UserError(f'{size[0]}x{size[1]} does not fit {name}: give height and width in '
                        f'multiples of {multiple}')
    if classes > 255:
        raise UserError(f'{classes} classes do not fit in uint8 labels: at most 255 can be '
                        'exported')


def example_size(size: tuple[int, int] | None, multiple: int) -> tuple[int, int]:
    """Return height and width to trace a graph with: those given, or small ones that fit."""
    height, width = size or (-(-side // multiple) * multiple for side in _EXAMPLE)
    return height, width


def runtime_or_none(make: Callable[[], Runtime]) -> Runtime | None:
    """
    Make a runtime that needs an exported graph.

    Torch runs the same network, slower: what keeps a graph from being made, such as a full disk
    or versions of onnx and torch that do not fit each other, is logged and ends nothing.

    Args:
        make: makes it, exporting the graph if there is none yet.

    """
    try:
        return make()
    # exporters have exceptions of their own for whatever they do not know, and no base for them
    except Exception as error:
        logger.warning('no graph of the network can be made (%s): torch runs it, at a fraction of '
                       'the speed. Newer onnx, onnxscript and onnxruntime may help: pip install '
                       '--upgrade onnx onnxscript onnxruntime', first_line(error))
        return None


def cached_graph(name: str, export: Callable[[Path], None]) -> Path:
    """
    Return a graph's file in the cache, exporting it if there is none yet.

    Args:
        name: of the file, without suffix; it must name everything that the graph depends on.
        export: writes the graph to a path.

    Raises:
        UserError: the cache cannot be written.

    """
    path = cache_folder() / f'{name}.onnx'
    if path.exists():
        return path
    logger.warning('preparing the network for this CPU: half a minute, once for these weights')
    temporary = path.with_suffix(f'.{os.getpid()}.partial')
    try:
        with writing(path):
            export(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def cached_session(name: str, export: Callable[[Path], None]) -> onnxruntime.InferenceSession:
    """
    Open a graph of the cache, exporting it if there is none yet, or none that can be read.

    Args:
        name: as for `cached_graph`.
        export: as for `cached_graph`.

    Raises:
        UserError: the cache cannot be written.

    """
    path = cached_graph(name, export)
    try:
        return open_session(path)
    # onnxruntime has an exception of its own for every kind of damage, and no base for them.
    except Exception as error:
        logger.warning('%s cannot be read (%s): it is made anew', path, first_line(error))
        path.unlink(missing_ok=True)
        return open_session(cached_graph(name, export))


def graph_digest(description: str, tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Fingerprint what a graph is made from: 20 hexadecimal digits."""
    digest = hashlib.sha256(f'{torch.__version__} {description}'.encode())
    for name, value in tensors:
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:20]


def all_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every parameter and buffer by name, also those that a `state_dict` leaves out."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def export_graph(module: nn.Module, arguments: tuple[Any, ...], *, inputs: Sequence[str],
                 outputs: Sequence[str], dynamic_shapes: Any) -> torch.onnx.ONNXProgram:
    """
    Export a module to ONNX.

    Args:
        module: in eval mode.
        arguments: an example of its arguments.
        inputs: name of each tensor among them.
        outputs: name of each tensor that it returns.
        dynamic_shapes: what is free in the arguments' shapes, as `torch.export` takes it.

    Returns:
        the program; `save(path, external_data=False)` writes it.

    """
    with warnings.catch_warnings(), _only_errors('torch.onnx'):
        warnings.simplefilter('ignore')
        program = torch.onnx.export(
            module, arguments, dynamo=True, verbose=False, opset_version=OPSET,
            input_names=list(inputs), output_names=list(outputs), dynamic_shapes=dynamic_shapes)
    assert program is not None
    return program


@contextmanager
def _only_errors(name: str) -> Iterator[None]:
    """Silence a logger that warns of packages which these graphs do not need."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
