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
from typing import Any

os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')

import onnxruntime
import torch
from torch import Tensor, nn

from vseg_ros.models.cache import cache_folder

logger = logging.getLogger(__name__)

OPSET = 20
CPU_PROVIDER = 'CPUExecutionProvider'


def open_session(path: Path, providers: Sequence[str] = (CPU_PROVIDER,),
                 ) -> onnxruntime.InferenceSession:
    """Open a graph with as many threads as torch has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # threads that spin while they wait take the processor from what runs between two frames
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return onnxruntime.InferenceSession(str(path), options, providers=list(providers))


def cached_graph(name: str, export: Callable[[Path], None]) -> Path:
    """
    Return a graph's file in the cache, exporting it if there is none yet.

    Args:
        name: of the file, without suffix; it must name everything that the graph depends on.
        export: writes the graph to a path.

    """
    path = cache_folder() / f'{name}.onnx'
    if path.exists():
        return path
    logger.warning('preparing the network for this CPU: half a minute, once for these weights')
    temporary = path.with_suffix(f'.{os.getpid()}.partial')
    try:
        export(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


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
