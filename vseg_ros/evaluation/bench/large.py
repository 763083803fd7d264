"""
Time2General at the paper's size on a GPU: DINOv2-L at 1024 x 512, bfloat16 and compiled.

Weights are random, which changes no speed, so nothing is downloaded. The step is that of sliding
mode up to the logits: encode a frame, attend to the last T, decode it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Dinov2Backbone, Dinov2Config

from vseg_ros.evaluation.bench.measure import Spread
from vseg_ros.labels import DRIVING
from vseg_ros.models.labelling import InputSize
from vseg_ros.models.token_backbone import choose_blocks, pretrained_backbone
from vseg_ros.time2general.frame_graph import FrameGraph
from vseg_ros.time2general.frozen_queries import FrozenQueries
from vseg_ros.time2general.model import Time2General, Time2GeneralHead
from vseg_ros.time2general.runtime import frame_sizes
from vseg_ros.training_settings import Time2GeneralModelSettings

PAPER_FPS = 18.15
"""Frames a second in the paper."""
SIZE = (512, 1024)
"""Height and width in the paper; a DINOv2 is given the nearest multiples of its patch."""
LARGE = {'hidden_size': 1024, 'num_hidden_layers': 24, 'num_attention_heads': 16,
         'image_size': 518, 'patch_size': 14}
"""DINOv2-L; everything else is transformers' default."""


def new_dinov2(architecture: dict[str, int], settings: Time2GeneralModelSettings) -> Time2General:
    """
    Make a model on a DINOv2 of random weights.

    Args:
        architecture: settings of `Dinov2Config`.
        settings: of the head, and the blocks that are read.

    """
    config = Dinov2Config.from_dict(architecture)
    choose_blocks(config, settings.blocks, 'the DINOv2')
    backbone = pretrained_backbone(Dinov2Backbone(config))
    head = Time2GeneralHead(backbone.widths, len(DRIVING), settings)
    return Time2General(head, backbone, DRIVING).eval().requires_grad_(False)


@dataclass
class SlidingStep:
    """
    Sliding mode on a device, up to the logits.

    Args:
        model: on its device.
        dtype: number format of backbone, modulation and fusion.
        compiled: whether torch compiles them.

    """

    model: Time2General
    dtype: torch.dtype
    compiled: bool

    def __post_init__(self) -> None:
        """Begin with no frame seen."""
        graph, self._queries = FrameGraph(self.model), FrozenQueries(self.model.head)
        self._encode: Callable[[Tensor], tuple[Tensor, Tensor]] = (
            torch.compile(graph) if self.compiled else graph)
        self._clip: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Segment uint8 [1, H, W, 3]: logits, float32 [K, cells]."""
        reduced = self.dtype != torch.float32
        with torch.autocast(image.device.type, self.dtype, enabled=reduced):
            cells, fused = self._encode(image)
        self._clip.append(cells.float())
        del self._clip[:-self.model.head.settings.clip_length]
        sizes, _ = frame_sizes(self.model, image.shape[1], image.shape[2])
        queries = self._queries.attend(self._clip, sizes)
        return self._queries.decode(queries, fused.float().T)


def time_large(device: str, frames: int, compiled: bool = True, dtype: str = 'bfloat16',
               size: tuple[int, int] = SIZE, architecture: dict[str, int] | None = None,
               settings: Time2GeneralModelSettings | None = None) -> dict[str, float]:
    """
    Time sliding mode.

    Args:
        device: 'cuda', or 'cpu' to see whether it works.
        frames: that are timed, after as many as fill the memory twice.
        compiled: whether torch compiles backbone, modulation and fusion.
        dtype: 'bfloat16' or 'float32'.
        size: height and width.
        architecture: of the DINOv2; None: `LARGE`.
        settings: of the head; None: those of the paper.

    Returns:
        `large_fps` with quartiles, `large_fps_over_paper`, `large_height` and `large_width`, as
        the backbone sees it.

    """
    torch.manual_seed(0)
    torch.set_float32_matmul_precision('high')
    model = new_dinov2(architecture or LARGE, settings or Time2GeneralModelSettings()).to(device)
    height, width = InputSize(0, model.backbone.size_multiple).of(size)
    image = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8)
    step = SlidingStep(model, getattr(torch, dtype), compiled)
    for _ in range(2 * model.head.settings.clip_length):
        step(image.to(device))
    rates = []
    for _ in range(frames):
        start = time.perf_counter()
        # the copy back waits for the device
        step(image.to(device)).argmax(0).to('cpu')
        rates.append(1 / (time.perf_counter() - start))
    spread = Spread.of(rates)
    return {**spread.flat('large_fps'), 'large_fps_over_paper': spread.median / PAPER_FPS,
            'large_height': float(height), 'large_width': float(width)}
