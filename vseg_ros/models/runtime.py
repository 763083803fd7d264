"""
How a frozen segmenter is run on one image: with torch, eager or compiled, or by onnxruntime.

All give the same `Decoded` and the backbone's features, and all take a new decoder at any time
(after an adaptation) without being built again. A decoder that can fold itself (`fold()`) runs
folded.
"""

from __future__ import annotations

import copy
import importlib.util
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vseg_ros.errors import UserError
from vseg_ros.models.compiled import CompiledFunction, Tensors
from vseg_ros.models.memory_layout import channels_last
from vseg_ros.models.reduced_precision import reduce_weights
from vseg_ros.models.segformer import SegformerBackbone
from vseg_ros.models.segmenter import Decoded, Features, ImageSegmenter
from vseg_ros.models.upload import upload
from vseg_ros.settings import Precision


@runtime_checkable
class FoldableDecoder(Protocol):
    """A decoder with a cheaper form for when it is frozen."""

    def fold(self) -> nn.Module:
        """Make the cheaper form; it shares nothing with the decoder."""
        ...


LARGEST_EXPORT = 30_000_000
"""Parameters of the largest segmenter that is exported to onnxruntime (a B2): the export of a B5
takes many minutes, and a segmenter of that size has no place on a CPU."""


class SegmenterRuntime(Protocol):
    """A frozen segmenter for one image at a time."""

    device: torch.device

    def infer(self, image: NDArray[np.uint8]) -> Decoded:
        """Segment uint8 [H, W, 3] RGB; float32 embedding [1, D, h, w], logits [1, C, h, w]."""
        ...

    def infer_with_features(self, image: NDArray[np.uint8]) -> tuple[Decoded, Features]:
        """Segment likewise and return the backbone's features too, float32 [1, ...] each."""
        ...

    def set_decoder(self, decoder: nn.Module) -> None:
        """Run `decoder` from now on; it is folded here and may change afterwards."""
        ...


def create_runtime(segmenter: ImageSegmenter, device: str, precision: Precision,
                   compiled: bool = False) -> SegmenterRuntime:
    """
    Choose the fastest way to run a segmenter on a device.

    Args:
        segmenter: the segmenter, float32, on the CPU.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        precision: 'auto' is float32 on a CPU and bfloat16 on a GPU.
        compiled: compile the networks with torch.

    Raises:
        UserError: the device is not there.

    """
    chosen = select_device(device)
    dtype = select_dtype(precision, chosen)
    onnx_ready = all(importlib.util.find_spec(name) for name in
                     ('onnxruntime', 'onnx', 'onnxscript'))
    if (chosen.type == 'cpu' and dtype == torch.float32 and onnx_ready and not compiled
            and isinstance(segmenter.backbone, SegformerBackbone)
            and sum(p.numel() for p in segmenter.parameters()) <= LARGEST_EXPORT):
        from vseg_ros.models.onnx_graphs import runtime_or_none
        from vseg_ros.models.onnx_runtime import OnnxRuntime
        exported = runtime_or_none(lambda: OnnxRuntime(segmenter))
        if exported is not None:
            return exported
    return TorchRuntime(segmenter, chosen, dtype, compiled)


def select_device(name: str) -> torch.device:
    """
    Turn a `device` setting into a device.

    Raises:
        UserError: not a device, or a GPU that is not there.

    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f'device {name!r} is unknown: use auto, cpu, cuda or cuda:N') from error
    if device.type not in ('cpu', 'cuda'):
        raise UserError(f'device {name!r} is not supported: use auto, cpu, cuda or cuda:N')
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f'device {name!r} is not on this machine ({torch.cuda.device_count()} '
                        'CUDA devices found): use auto or cpu')
    return device


def select_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Turn a `precision` setting into a number format."""
    if precision == 'auto':
        return torch.float32 if device.type == 'cpu' else torch.bfloat16
    return {'float32': torch.float32, 'bfloat16': torch.bfloat16,
            'float16': torch.float16}[precision]


def mixed_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """
    Choose the number format of what may be coarser than the networks.

    That is scores of an attention, and the products of an adaptation. 'auto' is bfloat16 also on
    a CPU, if it multiplies bfloat16 natively: twice as fast.
    """
    if precision == 'auto' and device.type == 'cpu' and _multiplies_bfloat16():
        return torch.bfloat16
    return select_dtype(precision, device)


def _multiplies_bfloat16() -> bool:
    # torch names this check differently from release to release
    check = getattr(torch.cpu, '_is_avx512_bf16_supported', None)
    return bool(check is not None and check())


class TorchRuntime:
    """
    Runs any `ImageSegmenter` with torch, on any device.

    Args:
        segmenter: moved to the device.
        device: where.
        dtype: number format of the networks.
        compiled: compile them (`compiled.py`) at the first image of each size.

    """

    def __init__(self, segmenter: ImageSegmenter, device: torch.device,
                 dtype: torch.dtype = torch.float32, compiled: bool = False) -> None:
        self.device = device
        self._dtype = dtype
        self._compiled = CompiledFunction(self._run) if compiled else None
        self._segmenter = channels_last(segmenter.to(device))
        if self._reduced:
            # the segmenter's own weights may still be trained, or copied
            self._segmenter = reduce_weights(copy.deepcopy(self._segmenter), dtype)
        self._decoder = self._freeze(segmenter.decoder)

    @property
    def compiled(self) -> bool:
        """Whether the networks are to be compiled."""
        return self._compiled is not None

    @property
    def _reduced(self) -> bool:
        return self._dtype != torch.float32

    def _freeze(self, decoder: nn.Module) -> nn.Module:
        """Copy a decoder for inference alone."""
        return reduce_weights(fold_decoder(decoder).to(self.device), self._dtype)

    def set_decoder(self, decoder: nn.Module) -> None:
        """Run `decoder` from now on."""
        folded = self._freeze(decoder)
        if self.compiled and _are_alike(folded, self._decoder):
            # what was compiled reads these places in memory
            self._decoder.load_state_dict(folded.state_dict())
        else:
            self._decoder = folded

    def infer(self, image: NDArray[np.uint8]) -> Decoded:
        """Segment one image."""
        return self.infer_with_features(image)[0]

    @torch.no_grad()
    def infer_with_features(self, image: NDArray[np.uint8]) -> tuple[Decoded, Features]:
        """Segment one image and keep the features."""
        run = self._compiled or self._run
        embedding, logits, *features = run(upload(image, self.device)[None])
        return Decoded(embedding, logits), tuple(features)

    def _run(self, image: Tensor) -> Tensors:
        """Compute embedding, logits and all features, float32, of uint8 [1, H, W, 3]."""
        with torch.autocast(self.device.type, self._dtype, enabled=self._reduced):
            features = self._segmenter.encode(image)
            decoded = self._decoder(features)
        return (decoded.embedding.float(), decoded.logits.float(),
                *(feature.float() for feature in features))


def _are_alike(one: nn.Module, other: nn.Module) -> bool:
    """Tell whether two modules have weights of the same names and shapes."""
    shapes = [{name: each.shape for name, each in module.state_dict().items()}
              for module in (one, other)]
    return type(one) is type(other) and shapes[0] == shapes[1]


def fold_decoder(decoder: nn.Module) -> nn.Module:
    """Return a frozen copy of a decoder, folded if it can fold itself."""
    if isinstance(decoder, FoldableDecoder):
        return decoder.fold().eval()
    return copy.deepcopy(decoder).eval().requires_grad_(False)
