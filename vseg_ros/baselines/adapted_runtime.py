"""
Run a segmenter whose backbone was adapted as fast as the one it came from.

The runtimes of `models/runtime.py` take a new decoder at any time; the backbone is part of what
they were built from. With PyTorch, a new runtime costs nothing. For onnxruntime an export takes a
minute, so the graph of the segmenter before adaptation, which lies in the cache, is opened with
other weights: the exporter keeps most under their names and stores matrices of linear layers
transposed, where they are recognised by their values.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.models.memory_layout import channels_last
from vseg_ros.models.runtime import SegmenterRuntime, TorchRuntime, select_dtype
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.settings import Precision

logger = logging.getLogger(__name__)

GRAPH_PREFIX = 'segmenter.backbone.'
"""What the exporter puts before the names of the backbone's weights."""


class RuntimeModel:
    """
    A frozen segmenter that gives logits alone.

    Args:
        runtime: of the segmenter.

    """

    def __init__(self, runtime: SegmenterRuntime) -> None:
        self.runtime = runtime

    def infer(self, image: NDArray[np.uint8]) -> Tensor:
        """Segment uint8 [H, W, 3] RGB: logits, float32 [1, C, h, w]."""
        return self.runtime.infer(image).logits


def adapted_runtime(runtime: SegmenterRuntime, source: ImageSegmenter, adapted: ImageSegmenter,
                    precision: Precision) -> SegmenterRuntime:
    """
    Run an adapted segmenter the way that its source is run.

    Args:
        runtime: of the source; it is used on where only the decoder was adapted.
        source: the segmenter before adaptation.
        adapted: a copy of it with other weights.
        precision: as for `create_runtime`.

    Returns:
        A runtime of the adapted segmenter.

    """
    adapted.eval().requires_grad_(False)
    if _same_weights(source, adapted):
        runtime.set_decoder(adapted.decoder)
        return runtime
    if not isinstance(runtime, TorchRuntime):
        try:
            return _onnx_runtime(runtime, source, adapted)
        except LookupError as error:
            logger.warning('the adapted segmenter runs without onnxruntime, slower: %s', error)
    return TorchRuntime(adapted, runtime.device, select_dtype(precision, runtime.device),
                        isinstance(runtime, TorchRuntime) and runtime.compiled)


def _same_weights(source: ImageSegmenter, adapted: ImageSegmenter) -> bool:
    others = adapted.backbone.state_dict()
    return all(torch.equal(value.to(others[name].device), others[name])
               for name, value in source.backbone.state_dict().items())


def _onnx_runtime(runtime: SegmenterRuntime, source: ImageSegmenter,
                  adapted: ImageSegmenter) -> SegmenterRuntime:
    """Open the source's graph with the adapted backbone's weights."""
    import onnx

    from vseg_ros.models import onnx_runtime
    from vseg_ros.models.onnx_graphs import cached_graph, open_session
    assert isinstance(runtime, onnx_runtime.OnnxRuntime)
    path = cached_graph(f'segformer-{onnx_runtime._digest(source)}',
                        lambda path: onnx_runtime._export(source, path))
    graph = onnx.load(str(path))
    place_weights(graph, source, adapted)
    other = copy.copy(runtime)
    with tempfile.TemporaryDirectory() as folder:
        refitted = Path(folder) / 'adapted.onnx'
        onnx.save(graph, str(refitted))
        other._session = open_session(refitted)
    other.set_decoder(adapted.decoder)
    return other


def place_weights(graph: Any, source: ImageSegmenter, adapted: ImageSegmenter) -> None:
    """
    Replace the backbone's weights in an exported graph.

    Args:
        graph: onnx.ModelProto made from `source`; changed in place.
        source: the segmenter that was exported.
        adapted: the segmenter whose backbone is wanted.

    Raises:
        LookupError: a weight that differs is not to be found in the graph.

    """
    from onnx import numpy_helper
    old = {name: value.detach().cpu().numpy()
           for name, value in source.backbone.state_dict().items()}
    new = {name: value.detach().cpu().numpy()
           for name, value in adapted.backbone.state_dict().items()}
    missing = {name for name, value in old.items() if not np.array_equal(value, new[name])}
    transposed = _transposed_matrices(old)
    for tensor in graph.graph.initializer:
        name = tensor.name.removeprefix(GRAPH_PREFIX)
        if name in old:
            value = new[name]
        elif (key := transposed.get(tensor.raw_data)) is not None:
            name, value = key, np.ascontiguousarray(new[key].T)
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        missing.discard(name)
    if missing:
        raise LookupError(f'{len(missing)} weights, such as {min(missing)}, are not in its graph')


def _transposed_matrices(weights: dict[str, NDArray[Any]]) -> dict[bytes, str]:
    """Return the bytes of every matrix that is unlike the others, transposed -> its name."""
    found: dict[bytes, list[str]] = {}
    for name, value in weights.items():
        if value.ndim == 2:
            found.setdefault(np.ascontiguousarray(value.T).tobytes(), []).append(name)
    return {content: names[0] for content, names in found.items() if len(names) == 1}


def new_copy(segmenter: ImageSegmenter, device: torch.device) -> ImageSegmenter:
    """Copy a segmenter to learn, on a device, in evaluation mode and with nothing learning yet."""
    return channels_last(copy.deepcopy(segmenter).to(device).eval().requires_grad_(False))
