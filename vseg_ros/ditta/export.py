"""
An adapted DiTTA as one ONNX graph a step, for a robot without torch.

A step takes an image and what the frame before handed on, and returns labels, confidence and what
the next frame is given. The graph keeps nothing itself, so a stream begins, and begins anew after
a pause or a cut, with zeros: `seen` says that there is no frame before.

    inputs   image   uint8 [1, H, W, 3], RGB
             keys    float32 or float16 [N, D], keys of the frame before
             logits  float32 [N, C], its logits
             seen    int64 [1], 0 for the first frame, 1 afterwards
    outputs  labels      uint8 [H, W], ids of the classes
             confidence  uint8 [H, W], 255 times the reliability (1 - E / max E of the frame)
             scores      float32 [C, h, w], logarithms of the fused probabilities, for who needs
                         labels at another size than that of the image
             next_keys, next_logits, next_seen   for the next step

N is h w, the cells of the decoder's maps: h = H / stride and w = W / stride. Where the fusion is
off (tau 0) there are `image`, `labels`, `confidence` and `scores` alone. The metadata name the
classes and their colours, the size, the stride, C and D, and the settings.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vseg_ros.atomic import atomic_file
from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.onnx_runtime import DITTA_EXPORT
from vseg_ros.ditta.onnx_step import DittaStep
from vseg_ros.ditta.saved import load_adapted
from vseg_ros.errors import UserError
from vseg_ros.models.exported import size_property
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.onnx_graphs import example_size, export_graph, require_exportable
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.settings import DittaSettings, FusionSettings

INPUTS = ['image', 'keys', 'logits', 'seen']
OUTPUTS = ['labels', 'confidence', 'scores', 'next_keys', 'next_logits', 'next_seen']
PRECISIONS = {'float32': torch.float32, 'float16': torch.float16}
"""Number formats of an exported graph."""


def require_precision(name: str) -> torch.dtype:
    """
    Return the number format that a name stands for.

    Raises:
        UserError: a graph cannot be exported in it.

    """
    if name not in PRECISIONS:
        raise UserError(f'--precision {name!r} cannot be exported: use {" or ".join(PRECISIONS)}')
    return PRECISIONS[name]


def load_adapted_model(settings: DittaSettings, adapted: Path,
                       ) -> tuple[ImageSegmenter, DittaModel]:
    """
    Load a segmenter and what was learned for it.

    Args:
        settings: name the segmenter, its classes and the radius.
        adapted: file written by `DittaPipeline.save`.

    Raises:
        UserError: the segmenter is not there, or the file is missing, damaged or does not belong
            to the segmenter and the radius.

    """
    if not adapted.is_file():
        raise UserError(f"there is no file {adapted}: `vseg replay --save` and the node's "
                        '~/save write one')
    if settings.classes and settings.adaptation.classes == 'source':
        raise UserError('what was learned with -p adaptation.classes=source cannot be exported: '
                        'adapt with -p adaptation.classes=target')
    segmenter = load_segmenter(settings.segmenter, settings.classes)
    model = DittaModel(copy.deepcopy(segmenter.decoder), settings.fusion.radius)
    load_adapted(model, adapted, settings.segmenter, segmenter.label_set)
    return segmenter, model.eval().requires_grad_(False)


def export_ditta(segmenter: ImageSegmenter, model: DittaModel, settings: DittaSettings,
                 path: Path, size: tuple[int, int] | None = None, precision: str = 'float32',
                 ) -> None:
    """
    Write a frozen DiTTA as ONNX, whole or not at all.

    Args:
        segmenter: what was adapted, float32, on the CPU.
        model: its adapted decoder and add-on.
        settings: of the fusion, and the segmenter's name.
        path: the file.
        size: height and width of the images; None leaves them free, in multiples of the
            segmenter's.
        precision: 'float32' or 'float16', of the networks.

    Raises:
        UserError: no such precision, the size does not fit the segmenter, there are too many
            classes for uint8, or the file cannot be written.

    """
    require_exportable(settings.segmenter, size, segmenter.size_multiple,
                       len(segmenter.label_set))
    height, width = example_size(size, segmenter.size_multiple)
    image = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    with torch.no_grad():
        embedding, logits = segmenter(image)
        cells = (logits.shape[2], logits.shape[3])
        step = DittaStep(segmenter, model, settings.fusion, cells if size else None,
                         require_precision(precision)).eval().requires_grad_(False)
        arguments, shapes = _arguments(step, image, embedding, logits, size is None)
        program = export_graph(step, arguments, inputs=INPUTS[:len(arguments)],
                               outputs=OUTPUTS[:3 if len(arguments) == 1 else 6],
                               dynamic_shapes=shapes)
    program.model.metadata_props.update({
        **_metadata(segmenter, settings), 'size': size_property(size), 'precision': precision,
        'width': str(embedding.shape[1]), 'stride': str(height // cells[0])})
    with atomic_file(path) as temporary:
        program.save(str(temporary), external_data=False)


def _arguments(step: DittaStep, image: Tensor, embedding: Tensor, logits: Tensor, free: bool,
               ) -> tuple[tuple[Tensor, ...], Any]:
    """Return example arguments, and what is free in their shapes."""
    auto = torch.export.Dim.AUTO
    sides = {1: auto, 2: auto} if free else None
    if step.settings.tau <= 0:
        return (image,), (sides,) if free else None
    cells = logits[0, 0].numel()
    keys = torch.zeros(cells, embedding.shape[1], dtype=step.dtype)
    state = torch.zeros(cells, logits.shape[1]), torch.zeros(1, dtype=torch.int64)
    return (image, keys, *state), (sides, {0: auto}, {0: auto}, None) if free else None


def _metadata(segmenter: ImageSegmenter, settings: DittaSettings) -> dict[str, str]:
    fusion: FusionSettings = settings.fusion
    return {'format': DITTA_EXPORT.form, 'segmenter': settings.segmenter,
            'classes': json.dumps(segmenter.label_set.names),
            'palette': json.dumps(segmenter.label_set.palette),
            'size_multiple': str(segmenter.size_multiple),
            'tau': str(fusion.tau), 'radius': str(fusion.radius), 'memory': fusion.memory}
