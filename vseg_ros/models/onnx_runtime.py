"""
A SegFormer on the CPU through onnxruntime, about four times as fast as eager torch.

One graph holds normalisation, backbone and folded decoder. The decoder's weights are *inputs* of
the graph, so a decoder that was adapted runs in the same session. The graph is exported once a
backbone and kept in the user's cache, under a digest of the weights and the versions that made
it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vseg_ros.models.onnx_graphs import cached_graph, export_graph, graph_digest, open_session
from vseg_ros.models.segformer import FoldedSegformerDecoder, SegformerDecoder, decode_folded
from vseg_ros.models.segmenter import Decoded, Features, ImageSegmenter

GRAPH_VERSION = 1
"""Raised when the exported graph changes, so that cached ones are made anew."""


class _SegformerGraph(nn.Module):
    """What is exported: uint8 image and decoder weights in, features, embedding, logits out."""

    def __init__(self, segmenter: ImageSegmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor, weights: list[Tensor]) -> tuple[Tensor, ...]:
        """Segment uint8 [1, H, W, 3]."""
        features = self.segmenter.encode(image)
        return (*features, *decode_folded(features, weights))


class OnnxRuntime:
    """
    Runs a SegFormer through onnxruntime on the CPU.

    Args:
        segmenter: the segmenter, float32.

    """

    def __init__(self, segmenter: ImageSegmenter) -> None:
        self.device = torch.device('cpu')
        self._levels = 0
        self._session = open_session(_cached_graph(segmenter))
        self._weights: dict[str, NDArray[np.float32]] = {}
        self.set_decoder(segmenter.decoder)

    def set_decoder(self, decoder: nn.Module) -> None:
        """Run `decoder` from now on."""
        assert isinstance(decoder, SegformerDecoder)
        folded = decoder.fold()
        self._levels = folded.levels
        names = FoldedSegformerDecoder.weight_names(folded.levels)
        self._weights = {name: value.numpy() for name, value in
                         zip(names, folded.weights(), strict=True)}

    def infer(self, image: NDArray[np.uint8]) -> Decoded:
        """Segment one image."""
        embedding, logits = self._run(image, ['embedding', 'logits'])
        return Decoded(embedding, logits)

    def infer_with_features(self, image: NDArray[np.uint8]) -> tuple[Decoded, Features]:
        """Segment one image and keep the features."""
        names = [f'feature{i}' for i in range(self._levels)]
        embedding, logits, *features = self._run(image, ['embedding', 'logits', *names])
        return Decoded(embedding, logits), tuple(features)

    def _run(self, image: NDArray[np.uint8], outputs: list[str]) -> list[Tensor]:
        feed = {'image': np.ascontiguousarray(image)[None], **self._weights}
        return [torch.from_numpy(value) for value in self._session.run(outputs, feed)]


def _cached_graph(segmenter: ImageSegmenter) -> Path:
    """Return the graph's file, exporting it if this backbone has none yet."""
    return cached_graph(f'segformer-{_digest(segmenter)}', lambda path: _export(segmenter, path))


def _digest(segmenter: ImageSegmenter) -> str:
    return graph_digest(f'{GRAPH_VERSION} {segmenter.backbone!r}',
                        [*segmenter.backbone.state_dict().items(),
                         ('mean', segmenter.mean), ('std', segmenter.std)])


def _export(segmenter: ImageSegmenter, path: Path) -> None:
    """Export with free height and width; multiples of 32 pixels are what the sizes are."""
    folded = segmenter.decoder.fold()  # type: ignore[operator]
    names = FoldedSegformerDecoder.weight_names(folded.levels)
    image = torch.zeros(1, 128, 192, 3, dtype=torch.uint8)
    height, width = torch.export.Dim('height', min=32), torch.export.Dim('width', min=32)
    program = export_graph(
        _SegformerGraph(segmenter).eval(), (image, folded.weights()), inputs=['image', *names],
        outputs=[*(f'feature{i}' for i in range(folded.levels)), 'embedding', 'logits'],
        dynamic_shapes=({1: height, 2: width}, [None] * len(names)))
    program.save(str(path), external_data=False)
