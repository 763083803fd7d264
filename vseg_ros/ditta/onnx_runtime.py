"""
Runs an exported DiTTA over a stream, without torch.

What a frame hands to the next stays where the graph runs: on a GPU only the image goes up and only
what is asked for comes down.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vseg_ros.errors import UserError
from vseg_ros.frame import Float32Array
from vseg_ros.labels import LabelSet
from vseg_ros.models.exported import CPU_PROVIDER, ExportedModel, ExportKind

DITTA_EXPORT = ExportKind('vseg_ros/ditta/1', 'DiTTA', 'vseg export ditta')
STATE = ('keys', 'logits', 'seen')
"""Inputs that a frame hands to the next, as outputs named `next_…`."""


class ExportedFrame(NamedTuple):
    """
    What a step returns.

    Attributes:
        labels: uint8 [H, W], ids of the classes.
        confidence: uint8 [H, W], 255 times the reliability of Eq. 2.
        scores: float32 [C, h, w], logarithms of the fused probabilities at the decoder's
            resolution, if they were asked for.

    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    scores: Float32Array | None


class ExportedDitta:
    """
    An exported DiTTA and its memory of the frame before.

    Args:
        path: written by `vseg export ditta`.
        providers: of onnxruntime, the preferred first, such as `TensorrtExecutionProvider` or
            `CUDAExecutionProvider`.
        threads: on a CPU; 0 takes one for each core.
        engine_cache: folder where TensorRT keeps its engines, whose making takes minutes; None
            is one in the user's cache.
        gpu: number of the GPU.

    Attributes:
        label_set: the classes, in order of the ids.
        properties: what the file says about itself: `size` (HxW or `dynamic`), `tau` and so on.

    Raises:
        UserError: there is no such file, it is something else, or no provider starts.

    """

    def __init__(self, path: Path, providers: Sequence[str] = (CPU_PROVIDER,), *,
                 threads: int = 0, engine_cache: Path | None = None, gpu: int = 0) -> None:
        self._model = ExportedModel(path, DITTA_EXPORT, providers, threads=threads,
                                    engine_cache=engine_cache, gpu=gpu)
        self._gpu = gpu
        self.properties = self._model.properties
        try:
            self.label_set = LabelSet(
                tuple(json.loads(self.properties['classes'])),
                tuple((red, green, blue) for red, green, blue in
                      json.loads(self.properties['palette'])))
            self._stride, self._width = (int(self.properties[name])
                                         for name in ('stride', 'width'))
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f'the metadata of {path} are damaged: export it again') from error
        inputs = {value.name: value.type for value in self._model.session.get_inputs()}
        self._stateful = 'keys' in inputs
        self._half = inputs.get('keys') == 'tensor(float16)'
        self._state: dict[str, Any] = {}
        self._size: tuple[int, int] | None = None

    def reset(self) -> None:
        """Forget the frame before, as after a pause or a cut."""
        self._size = None

    def step(self, image: NDArray[np.uint8], scores: bool = False) -> ExportedFrame:
        """
        Segment the next frame.

        Args:
            image: uint8 [H, W, 3], RGB. Another size than before begins anew.
            scores: return them as well.

        Raises:
            UserError: the image does not fit the exported model.

        """
        size = self._model.require_image(image)
        if self._stateful and size != self._size:
            self._state = self._nothing_seen(size)
        self._size = size
        binding = self._model.session.io_binding()
        binding.bind_cpu_input('image', np.ascontiguousarray(image)[None])
        for name, value in self._state.items():
            binding.bind_ortvalue_input(name, value)
        wanted = ['labels', 'confidence', *(['scores'] if scores else [])]
        for name in wanted:
            binding.bind_output(name, 'cpu')
        for name in self._state:
            binding.bind_output(f'next_{name}', self._model.device, self._device_id)
        self._model.session.run_with_iobinding(binding)
        values = binding.get_outputs()
        self._state = dict(zip(self._state, values[len(wanted):], strict=True))
        found = [value.numpy() for value in values[:len(wanted)]]
        return ExportedFrame(found[0], found[1], found[2] if scores else None)

    @property
    def _device_id(self) -> int:
        return self._gpu if self._model.device == 'cuda' else 0

    def _nothing_seen(self, size: tuple[int, int]) -> dict[str, Any]:
        """Return the state before the first frame of a size."""
        cells = (size[0] // self._stride) * (size[1] // self._stride)
        values = (np.zeros((cells, self._width), np.float16 if self._half else np.float32),
                  np.zeros((cells, len(self.label_set)), np.float32), np.zeros(1, np.int64))
        return {name: onnxruntime.OrtValue.ortvalue_from_numpy(
            value, self._model.device, self._device_id)
            for name, value in zip(STATE, values, strict=True)}
