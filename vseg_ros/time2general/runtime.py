"""
How frames are encoded, attended to and decoded on a device.

On a CPU a SegFormer backbone runs through onnxruntime, several times as fast as eager torch; any
other model runs eagerly, in the number format of `precision`. Queries and masks are float32.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vseg_ros.models.memory_layout import channels_last
from vseg_ros.models.reduced_precision import reduce_weights
from vseg_ros.models.runtime import LARGEST_EXPORT, select_device, select_dtype
from vseg_ros.models.segformer import SegformerBackbone
from vseg_ros.models.upload import upload
from vseg_ros.settings import Precision
from vseg_ros.time2general.deformable_attention import Size
from vseg_ros.time2general.frame_graph import finest_scale
from vseg_ros.time2general.frozen_queries import FrozenQueries
from vseg_ros.time2general.model import PixelFeatures, Time2General, Time2GeneralHead


class FrameRuntime(ABC):
    """
    A frozen model for one clip at a time.

    Args:
        head: the trained head, on the device that it is run on.

    Attributes:
        head: that head.

    """

    def __init__(self, head: Time2GeneralHead) -> None:
        self.head = head
        self._queries = FrozenQueries(head).eval().requires_grad_(False)

    @abstractmethod
    def encode(self, image: NDArray[np.uint8]) -> tuple[PixelFeatures, Tensor]:
        """Encode uint8 [H, W, 3] RGB: U of one frame and its fusion, float32 [1, d, h, w]."""

    @torch.no_grad()
    def attend(self, clip: Sequence[PixelFeatures]) -> Tensor:
        """
        Let the queries attend to a clip.

        Args:
            clip: what `encode` made of each frame, all of one size, oldest first.

        Returns:
            the queries, float32 [Q, d].

        """
        return self._queries.attend([pixels.cells[0] for pixels in clip], clip[0].sizes)

    @torch.no_grad()
    def decode(self, queries: Tensor, fused: Tensor) -> Tensor:
        """
        Segment one frame of a clip.

        Args:
            queries: from `attend`.
            fused: from `encode`.

        Returns:
            logits, float32 [1, K, h, w].

        """
        logits = self._queries.decode(queries, fused[0].flatten(1))
        return logits.view(1, -1, *fused.shape[2:])


def create_frame_runtime(model: Time2General, device: str, precision: Precision) -> FrameRuntime:
    """
    Choose the fastest way to run a model on a device.

    Args:
        model: float32, on the CPU, in eval mode.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        precision: 'auto' is float32 on a CPU and bfloat16 on a GPU.

    Raises:
        UserError: the device is not there.

    """
    chosen = select_device(device)
    dtype = select_dtype(precision, chosen)
    onnx_ready = all(importlib.util.find_spec(name) for name in
                     ('onnxruntime', 'onnx', 'onnxscript'))
    if (chosen.type == 'cpu' and dtype == torch.float32 and onnx_ready and model.depth is None
            and any(isinstance(part, SegformerBackbone) for part in model.backbone.modules())
            and sum(p.numel() for p in model.parameters()) <= LARGEST_EXPORT):
        from vseg_ros.models.onnx_graphs import runtime_or_none
        from vseg_ros.time2general.onnx_runtime import OnnxFrameRuntime
        exported = runtime_or_none(lambda: OnnxFrameRuntime(model))
        if exported is not None:
            return exported
    return TorchFrameRuntime(model, chosen, dtype)


def frame_sizes(model: Time2General, height: int, width: int) -> tuple[tuple[Size, ...], Size]:
    """Return the size of each scale's map for an image of this size, and that of the fusion."""
    sizes = tuple((height // stride, width // stride) for stride in model.backbone.strides)
    finest, doubled = sizes[finest_scale(sizes)], 2 ** model.head.settings.upsampling
    return sizes, (finest[0] * doubled, finest[1] * doubled)


class TorchFrameRuntime(FrameRuntime):
    """
    Runs any model eagerly, on any device and in any number format.

    Args:
        model: moved to the device, and its frozen backbone's weights to the number format.
        device: where.
        dtype: number format of the networks.

    """

    def __init__(self, model: Time2General, device: torch.device, dtype: torch.dtype) -> None:
        self._model = channels_last(model.to(device))
        reduce_weights(self._model.backbone, dtype)
        super().__init__(self._model.head)
        self._device, self._dtype = device, dtype

    @torch.no_grad()
    def encode(self, image: NDArray[np.uint8]) -> tuple[PixelFeatures, Tensor]:
        """Encode one frame."""
        reduced = self._dtype != torch.float32
        uploaded = upload(image, self._device)[None]
        with torch.autocast(self._device.type, self._dtype, enabled=reduced):
            features, depth = self._model.encode(uploaded)
            pixels = self.head.modulate(features, depth)
            fused = self.head.fuse(pixels)
        return PixelFeatures(pixels.cells.float(), pixels.sizes), fused.float()
