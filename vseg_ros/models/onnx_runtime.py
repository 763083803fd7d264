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
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vseg_ros.models.class_groups import split_decoder
from vseg_ros.models.onnx_graphs import cached_session, export_graph, graph_digest
from vseg_ros.models.segformer import (
    FoldedSegformerDecoder,
    SegformerDecoder,
    decode_by_products,
)
from vseg_ros.models.segmenter import Decoded, Features, ImageSegmenter

GRAPH_VERSION = 3
"""Raised when the exported graph changes, so that cached ones are made anew."""

_ONLY_WHAT_IS_ASKED = onnxruntime.RunOptions()
_ONLY_WHAT_IS_ASKED.only_execute_path_to_fetches = True


class _SegformerGraph(nn.Module):
    """What is exported: uint8 image and decoder weights in, features, embedding, logits out."""

    def __init__(self, segmenter: ImageSegmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor, weights: list[Tensor]) -> tuple[Tensor, ...]:
        """Segment uint8 [1, H, W, 3]."""
        features = self.segmenter.encode(image)
        embedding, logits = decode_by_products(features, weights)
        # channels last: as it lies in memory, and as DiTTA's add-on reads it
        return (*features, embedding.permute(0, 2, 3, 1), logits)


class OnnxRuntime:
    """
    Runs a SegFormer through onnxruntime on the CPU.

    Args:
        segmenter: the segmenter, float32.

    """

    def __init__(self, segmenter: ImageSegmenter) -> None:
        self.device = torch.device('cpu')
        self._levels = 0
        self._session = _cached_session(segmenter)
        self._weights: dict[str, NDArray[np.float32]] = {}
        self.set_decoder(segmenter.decoder)

    def set_decoder(self, decoder: nn.Module) -> None:
        """Run `decoder` from now on."""
        plain, self._group = split_decoder(decoder)
        assert isinstance(plain, SegformerDecoder)
        folded = plain.fold()
        self._levels = folded.levels
        names = FoldedSegformerDecoder.weight_names(folded.levels)
        self._weights = {name: value.numpy() for name, value in
                         zip(names, folded.weights(), strict=True)}

    def infer(self, image: NDArray[np.uint8]) -> Decoded:
        """Segment one image."""
        embedding, logits = self._run(image, ['embedding', 'logits'])
        return Decoded(embedding, self._group(logits))

    def infer_with_features(self, image: NDArray[np.uint8]) -> tuple[Decoded, Features]:
        """Segment one image and keep the features."""
        names = [f'feature{i}' for i in range(self._levels)]
        embedding, logits, *features = self._run(image, ['embedding', 'logits', *names])
        return Decoded(embedding, self._group(logits)), tuple(features)

    def _run(self, image: NDArray[np.uint8], outputs: list[str]) -> list[Tensor]:
        feed = {'image': np.ascontiguousarray(image)[None], **self._weights}
        embedding, *others = (torch.from_numpy(value) for value in
                              self._session.run(outputs, feed, _ONLY_WHAT_IS_ASKED))
        return [embedding.permute(0, 3, 1, 2), *others]


def _cached_session(segmenter: ImageSegmenter) -> onnxruntime.InferenceSession:
    """Open the graph of this backbone, exporting it if there is none yet."""
    return cached_session(f'segformer-{_digest(segmenter)}', lambda path: _export(segmenter, path))


def _digest(segmenter: ImageSegmenter) -> str:
    # the decoder's weights are inputs of the graph, but their shapes are its own
    decoder, _ = split_decoder(segmenter.decoder)
    shapes = [tuple(value.shape) for value in decoder.state_dict().values()]
    return graph_digest(f'{GRAPH_VERSION} {segmenter.backbone!r} {shapes}',
                        [*segmenter.backbone.state_dict().items(),
                         ('mean', segmenter.mean), ('std', segmenter.std)])


def _export(segmenter: ImageSegmenter, path: Path) -> None:
    """Export with free height and width; multiples of 32 pixels are what the sizes are."""
    folded = split_decoder(segmenter.decoder)[0].fold()  # type: ignore[operator]
    names = FoldedSegformerDecoder.weight_names(folded.levels)
    image = torch.zeros(1, 128, 192, 3, dtype=torch.uint8)
    height, width = torch.export.Dim('height', min=32), torch.export.Dim('width', min=32)
    program = export_graph(
        _SegformerGraph(segmenter).eval(), (image, folded.weights()), inputs=['image', *names],
        outputs=[*(f'feature{i}' for i in range(folded.levels)), 'embedding', 'logits'],
        dynamic_shapes=({1: height, 2: width}, [None] * len(names)))
    program.save(str(path), external_data=False)
