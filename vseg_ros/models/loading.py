"""
Load an image segmenter by name: bundled weights, a folder saved by transformers, or a hub id.

The bundled form is one safetensors file: the weights in fp16, and in its metadata the class
names, the architecture and what that architecture's builder needs, so that a file says by itself
what it is. A new architecture is one more entry in `BUILDERS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, SegformerConfig, SegformerForSemanticSegmentation

from vseg_ros.class_maps import find_class_map
from vseg_ros.errors import UserError
from vseg_ros.failure import first_line
from vseg_ros.labels import LabelSet
from vseg_ros.models.class_groups import group_classes
from vseg_ros.models.ocrnet import (
    FeatureBackbone,
    OcrDecoder,
    describe_ocrnet,
    ocrnet_from_metadata,
)
from vseg_ros.models.segformer import adapt_segformer, new_segformer
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.models.stored_weights import read_weights, write_weights
from vseg_ros.weights import Weights, find_weights, hub_advice

Builder = Callable[[LabelSet, Mapping[str, str]], ImageSegmenter]

BUILDERS: dict[str, Builder] = {
    'segformer': lambda label_set, metadata: new_segformer(label_set, metadata['variant']),
    'ocrnet': ocrnet_from_metadata,
}
"""How to build each architecture, weights still random, from the metadata of a file."""


def load_segmenter(name: str, classes: str = '') -> ImageSegmenter:
    """
    Load a segmenter, ready to infer (eval mode, float32, on the CPU).

    Args:
        name: bundled name, path of a file or folder, or hub id.
        classes: name of a class map to speak the target classes of, empty for the checkpoint's.

    Returns:
        the segmenter; its `label_set` has the checkpoint's class names, or the class map's.

    Raises:
        UserError: nothing has that name, or what has it is damaged or no segmenter; no such
            class map, or one for other classes than the segmenter's.

    """
    if classes:
        return group_classes(load_segmenter(name), find_class_map(classes))
    weights = find_weights(name)
    if weights.path is None:
        return _from_transformers(weights)
    if weights.kind == 'folder':
        own = sorted(weights.path.glob('*.safetensors'))
        if (weights.path / 'config.json').exists() or len(own) != 1:
            return _from_transformers(weights)
        return read_segmenter(own[0])
    return read_segmenter(weights.path)


def read_segmenter(path: Path) -> ImageSegmenter:
    """
    Read a segmenter from this package's own safetensors form.

    Raises:
        UserError: the file is damaged or holds something else.

    """
    state, metadata = read_weights(path)
    builder = BUILDERS.get(metadata.get('architecture', ''))
    if builder is None:
        raise UserError(f'{path} holds no image segmenter ({" or ".join(BUILDERS)}): it must be '
                        'written by `vseg train iss`')
    try:
        segmenter = builder(LabelSet.from_names(json.loads(metadata['classes'])), metadata)
        segmenter.load_state_dict(state)
    except (KeyError, ValueError, TypeError, RuntimeError, StrictDataclassError) as error:
        raise UserError(f'{path} does not fit its own metadata ({first_line(error)}): it is '
                        'damaged, train or download it again') from error
    return segmenter.eval().requires_grad_(False)


def write_segmenter(segmenter: ImageSegmenter, path: Path, variant: str = '') -> None:
    """
    Write a segmenter in this package's own form: fp16 safetensors with metadata.

    Args:
        segmenter: made by `new_segformer` or `new_ocrnet`.
        path: file to write.
        variant: MiT size of a SegFormer, 'b0' to 'b5'; an OCRNet describes itself.

    """
    if isinstance(segmenter.backbone, FeatureBackbone):
        assert isinstance(segmenter.decoder, OcrDecoder)
        metadata = describe_ocrnet(segmenter.backbone, segmenter.decoder)
    else:
        metadata = {'architecture': 'segformer', 'variant': variant}
    metadata['classes'] = json.dumps(segmenter.label_set.names)
    write_weights(segmenter.state_dict(), path, metadata)


def _from_transformers(weights: Weights) -> ImageSegmenter:
    source = str(weights.path or weights.name)
    try:
        config = AutoConfig.from_pretrained(source)
        architecture = (config.architectures or [config.model_type])[0]
        # an image classifier shares the configuration, but has no decoder
        if (not isinstance(config, SegformerConfig)
                or architecture != SegformerForSemanticSegmentation.__name__):
            raise UserError(f'{source} is a {architecture}, not a SegFormer for segmentation: '
                            'wrap it with vseg_ros.models.segmenter.ImageSegmenter')
        loaded: Any = SegformerForSemanticSegmentation.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True)
        model, report = loaded
    except (OSError, ValueError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        if weights.kind == 'hub':
            raise UserError(hub_advice(weights.name)) from error
        raise UserError(f'{source} is no SegFormer saved by transformers '
                        f'({first_line(error)}): download it again') from error
    if report['missing_keys']:
        raise UserError(f'{source} lacks {len(report["missing_keys"])} of the weights of a '
                        'SegFormer for segmentation: download it again')
    names = [name for _, name in sorted((config.id2label or {}).items())]
    return adapt_segformer(model, LabelSet.from_names(names)).eval().requires_grad_(False)
