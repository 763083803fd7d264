"""
A SegFormer on the CPU through onnxruntime, about four times as fast as eager torch.

One graph holds normalisation, backbone and folded decoder. The decoder's weights are *inputs* of
the graph, so a decoder that was adapted runs in the same session. The graph is exported once a
backbone and kept in the user's cache, under a digest of the weights and the versions that made
it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vseg_ros.models.segformer import FoldedSegformerDecoder, SegformerDecoder, decode_folded
from vseg_ros.models.segmenter import Decoded, Features, ImageSegmenter

logger = logging.getLogger(__name__)

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
        self._session = _open_session(_cached_graph(segmenter))
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


def _open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # threads that spin while they wait take the processor from what runs between two frames
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])


def _cached_graph(segmenter: ImageSegmenter) -> Path:
    """Return the graph's file, exporting it if this backbone has none yet."""
    folder = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'vseg_ros'
    path = folder / f'segformer-{_digest(segmenter)}.onnx'
    if path.exists():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix='vseg_ros-'))
        path = folder / path.name
    temporary = path.with_suffix(f'.{os.getpid()}.partial')
    _export(segmenter, temporary)
    temporary.replace(path)
    return path


def _digest(segmenter: ImageSegmenter) -> str:
    digest = hashlib.sha256(f'{GRAPH_VERSION} {torch.__version__}'.encode())
    digest.update(repr(segmenter.backbone).encode())
    for name, value in segmenter.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    digest.update(segmenter.mean.numpy().tobytes() + segmenter.std.numpy().tobytes())
    return digest.hexdigest()[:20]


def _export(segmenter: ImageSegmenter, path: Path) -> None:
    """Export with free height and width; multiples of 32 pixels are what the sizes are."""
    logger.warning('preparing the segmenter for this CPU: half a minute, once for these weights')
    folded = segmenter.decoder.fold()  # type: ignore[operator]
    names = FoldedSegformerDecoder.weight_names(folded.levels)
    image = torch.zeros(1, 128, 192, 3, dtype=torch.uint8)
    height, width = torch.export.Dim('height', min=32), torch.export.Dim('width', min=32)
    exporter = logging.getLogger('torch.onnx')
    level = exporter.level
    exporter.setLevel(logging.ERROR)  # it warns of packages that this graph does not need
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program = torch.onnx.export(
            _SegformerGraph(segmenter).eval(), (image, folded.weights()), dynamo=True,
            input_names=['image', *names], verbose=False, opset_version=20,
            output_names=[*(f'feature{i}' for i in range(folded.levels)), 'embedding', 'logits'],
            dynamic_shapes=({1: height, 2: width}, [None] * len(names)))
    exporter.setLevel(level)
    assert program is not None
    program.save(str(path), external_data=False)
