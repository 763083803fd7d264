"""
Time2General on the CPU through onnxruntime: the frame's part as one graph, the queries' in torch.

Backbone, modulation and fusion of a frame (`FrameGraph`) are exported once and kept in the user's
cache, under a digest of backbone, head and the versions that made the graph. The queries
(`FrozenQueries`) read few of the cells that come out: torch sums them without making a list of
them, which no operator of ONNX does.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.models.onnx_graphs import (
    all_tensors,
    cached_session,
    export_graph,
    graph_digest,
)
from vseg_ros.time2general.frame_graph import FrameGraph
from vseg_ros.time2general.model import PixelFeatures, Time2General
from vseg_ros.time2general.runtime import FrameRuntime, frame_sizes

GRAPH_VERSION = 2
"""Raised when the exported graph changes, so that cached ones are made anew."""


class OnnxFrameRuntime(FrameRuntime):
    """
    Runs a SegFormer backbone and its head through onnxruntime on the CPU.

    Args:
        model: float32, in eval mode, without a depth prior.

    """

    def __init__(self, model: Time2General) -> None:
        super().__init__(model.head)
        self._model = model
        self._session = _cached_session(model)

    def encode(self, image: NDArray[np.uint8]) -> tuple[PixelFeatures, Tensor]:
        """Encode one frame."""
        cells, fused = self._session.run(['cells', 'fused'],
                                         {'image': np.ascontiguousarray(image)[None]})
        sizes, finest = frame_sizes(self._model, image.shape[0], image.shape[1])
        return (PixelFeatures(torch.from_numpy(cells)[None], sizes),
                torch.from_numpy(fused).view(1, *finest, -1).permute(0, 3, 1, 2))


def _cached_session(model: Time2General) -> onnxruntime.InferenceSession:
    """Open the graph of this model, exporting it if there is none yet."""
    digest = graph_digest(f'{GRAPH_VERSION} {model!r}', all_tensors(model))
    return cached_session(f'time2general-{digest}', lambda path: _export(model, path))


def _export(model: Time2General, path: Path) -> None:
    """Export with free height and width; multiples of 32 pixels are what the sizes are."""
    image = torch.zeros(1, 128, 192, 3, dtype=torch.uint8)
    height, width = torch.export.Dim('height', min=32), torch.export.Dim('width', min=32)
    graph = FrameGraph(copy.deepcopy(model)).eval().requires_grad_(False)
    program = export_graph(graph, (image,), inputs=['image'], outputs=['cells', 'fused'],
                           dynamic_shapes=({1: height, 2: width},))
    program.save(str(path), external_data=False)
