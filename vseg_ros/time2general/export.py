"""
Time2General as one ONNX graph a step, for a robot without torch: sliding mode.

A step takes an image and the memory of earlier frames, and returns labels, confidence and the
memory for the next step. The graph keeps nothing itself, so a stream begins, and begins anew
after a pause and with images of another size, with an empty memory: zeros, and 0 frames that
count. Memories of 256 x 448 and of 448 x 256 have the same shape, but their cells lie elsewhere.

    inputs   image     uint8 [1, H, W, 3], RGB
             memory    float32 [T - 1, N, d], U of earlier frames, the newest last
             seen      int64 [1], how many of them count, the last ones: 0 to T - 1
    outputs  labels      uint8 [H, W], ids of the classes
             confidence  float32 [H, W], reliability in 0..1 (1 - E / max E of the frame)
             next_memory, next_seen   for the next step

A model whose clips are one frame long, or that was trained without memory, has `image`, `labels`
and `confidence` alone. The metadata name the classes, T, N (for a fixed size) and d, and the
strides of the maps: N is the sum of (H / stride) (W / stride) over them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vseg_ros.atomic import atomic_file
from vseg_ros.frame import Float32Array
from vseg_ros.models.exported import CPU_PROVIDER, ExportedModel, ExportKind, size_property
from vseg_ros.models.onnx_graphs import example_size, export_graph, require_exportable
from vseg_ros.models.onnx_scores import label_and_reliability
from vseg_ros.time2general.deformable_attention import Size
from vseg_ros.time2general.frame_graph import FrameGraph, feature_sizes, finest_scale
from vseg_ros.time2general.frozen_queries import FrozenQueries, read_joined
from vseg_ros.time2general.model import Time2General

TIME2GENERAL_EXPORT = ExportKind('vseg_ros/time2general/1', 'Time2General',
                                 'vseg export time2general')


class StepGraph(nn.Module):
    """
    What is exported: one frame, and the memory of those before it.

    Args:
        model: trained, in eval mode; weights are shared.

    """

    def __init__(self, model: Time2General) -> None:
        super().__init__()
        self.frame = FrameGraph(model)
        self.queries = FrozenQueries(model.head)
        self.doubled = 2 ** model.head.settings.upsampling

    def forward(self, image: Tensor, memory: Tensor | None = None, seen: Tensor | None = None,
                ) -> tuple[Tensor, ...]:
        """Segment a frame; shapes are in the module's docstring."""
        features, depth = self.frame.model.encode(image)
        cells, fused = self.frame.head(features, depth)
        sizes = feature_sizes(features)
        joined = cells[None] if memory is None else torch.cat([memory, cells[None]])
        queries = self._attend(joined, seen, sizes)
        height, width = (side * self.doubled for side in sizes[finest_scale(sizes)])
        logits = self.queries.decode(queries, fused.T, _sigmoid).view(1, -1, height, width)
        labels, confidence = label_and_reliability(logits, (image.shape[1], image.shape[2]))
        if memory is None or seen is None:
            return labels, confidence
        return labels, confidence, joined[1:], (seen + 1).clamp_max(len(joined) - 1)

    def _attend(self, joined: Tensor, seen: Tensor | None, sizes: tuple[Size, ...]) -> Tensor:
        """Attend to the last `seen` frames and the one that is decoded, the oldest first."""
        frames = joined.shape[0]
        number = torch.arange(frames, device=joined.device)
        absent, slots = None, number
        if seen is not None:
            # position t of the clip lies at the end of the slots; those beyond do not count
            absent = torch.where(number <= seen, 0.0, float('-inf'))
            slots = (frames - 1 - seen + number).clamp_max(frames - 1)
        return self.queries.steps(lambda aim: read_joined(joined, slots, aim),
                                  self.queries.grid(sizes, frames), frames, absent)


def _sigmoid(values: Tensor) -> Tensor:
    """
    Compute the sigmoid so that small results are right as well.

    onnxruntime's own errs by 7e-8 on a processor, which the logarithm of the scores would show
    wherever no mask is sure.
    """
    return 1 / (1 + torch.exp(-values))


def export_time2general(model: Time2General, path: Path, size: Size | None = None) -> None:
    """
    Write a model as ONNX, whole or not at all.

    Args:
        model: trained, float32, on the CPU.
        path: the file.
        size: height and width of the images; None leaves them free, in multiples of the
            backbone's.

    Raises:
        UserError: the size does not fit the backbone, there are too many classes for uint8, or
            the file cannot be written.

    """
    require_exportable(model.head.settings.backbone, size, model.backbone.size_multiple,
                       len(model.label_set))
    arguments, names, shapes = _arguments(model, size)
    outputs = ['labels', 'confidence', 'next_memory', 'next_seen'][:2 if len(names) == 1 else 4]
    graph = StepGraph(copy.deepcopy(model)).eval().requires_grad_(False)
    with torch.no_grad():
        program = export_graph(graph, arguments, inputs=names, outputs=outputs,
                               dynamic_shapes=shapes)
    program.model.metadata_props.update(_metadata(model, size))
    with atomic_file(path) as temporary:
        program.save(str(temporary), external_data=False)


def _arguments(model: Time2General, size: Size | None,
               ) -> tuple[tuple[Tensor, ...], list[str], Any]:
    """Return example arguments, their names, and what is free in their shapes."""
    height, width = example_size(size, model.backbone.size_multiple)
    image = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    slots = memory_slots(model)
    free = None if size else {1: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}
    if not slots:
        return (image,), ['image'], (free,) if free else None
    cells = sum((height // stride) * (width // stride) for stride in model.backbone.strides)
    memory = torch.zeros(slots, cells, model.head.settings.width)
    return ((image, memory, torch.tensor([slots])), ['image', 'memory', 'seen'],
            (free, {1: torch.export.Dim.AUTO}, None) if free else None)


def memory_slots(model: Time2General) -> int:
    """Return how many earlier frames a step is given."""
    return model.head.settings.clip_length - 1 if model.head.settings.memory else 0


def _metadata(model: Time2General, size: Size | None) -> dict[str, str]:
    return {'format': TIME2GENERAL_EXPORT.form,
            'classes': json.dumps(model.label_set.names),
            'clip_length': str(memory_slots(model) + 1),
            'width': str(model.head.settings.width),
            'strides': json.dumps(model.backbone.strides),
            'size_multiple': str(model.backbone.size_multiple),
            'size': size_property(size)}


class ExportedSegmentation(NamedTuple):
    """
    What a step returns.

    Attributes:
        labels: uint8 [H, W], ids of the classes.
        confidence: float32 [H, W] in 0..1.

    """

    labels: NDArray[np.uint8]
    confidence: Float32Array


class ExportedTime2General:
    """
    Runs an exported model over a stream.

    Args:
        path: written by `export_time2general`.
        providers: of onnxruntime, the preferred first, such as `TensorrtExecutionProvider` or
            `CUDAExecutionProvider`.

    Attributes:
        classes: their names, in order of the ids.

    Raises:
        UserError: it is no such file, or a provider is not there.

    """

    def __init__(self, path: Path, providers: Sequence[str] = (CPU_PROVIDER,)) -> None:
        self._model = ExportedModel(path, TIME2GENERAL_EXPORT, providers,
                                    threads=torch.get_num_threads())
        properties = self._model.properties
        self.classes: list[str] = json.loads(properties['classes'])
        self._slots = int(properties['clip_length']) - 1
        self._width = int(properties['width'])
        self._strides: list[int] = json.loads(properties['strides'])
        self._memory: tuple[Any, Any] | None = None
        self._size: Size | None = None

    def reset(self) -> None:
        """Forget the frames so far, as after a pause."""
        self._memory = None

    def step(self, image: NDArray[np.uint8]) -> ExportedSegmentation:
        """
        Segment the next frame.

        Args:
            image: uint8 [H, W, 3], RGB. Another size than before begins anew.

        Raises:
            UserError: it is no image, or the model was exported for another size.

        """
        height, width = self._model.require_image(image)
        feed = {'image': np.ascontiguousarray(image)[None]}
        if not self._slots:
            return ExportedSegmentation(*self._model.session.run(None, feed))
        memory, seen = self._memory or (None, None)
        if memory is None or self._size != (height, width):
            cells = sum((height // stride) * (width // stride) for stride in self._strides)
            memory = np.zeros((self._slots, cells, self._width), np.float32)
            seen = np.zeros(1, np.int64)
        labels, confidence, memory, seen = self._model.session.run(
            None, {**feed, 'memory': memory, 'seen': seen})
        self._memory, self._size = (memory, seen), (height, width)
        return ExportedSegmentation(labels, confidence)
