"""
Load an image segmenter by name: bundled weights, a folder saved by transformers, or a hub id.

The bundled form is one safetensors file: the weights in fp16, and in its metadata the
architecture, its size and the class names, so that a file says by itself what it is.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from vseg_ros.errors import UserError
from vseg_ros.labels import LabelSet
from vseg_ros.models.segformer import adapt_segformer, new_segformer
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.weights import Weights, find_weights, hub_advice


def load_segmenter(name: str) -> ImageSegmenter:
    """
    Load a segmenter, ready to infer (eval mode, float32, on the CPU).

    Args:
        name: bundled name, path of a file or folder, or hub id.

    Returns:
        the segmenter; its `label_set` has the checkpoint's class names.

    Raises:
        UserError: nothing has that name, or what has it is damaged or no segmenter.

    """
    weights = find_weights(name)
    if weights.kind in ('bundled', 'file'):
        assert weights.path is not None
        return read_segmenter(weights.path)
    return _from_transformers(weights)


def read_segmenter(path: Path) -> ImageSegmenter:
    """
    Read a segmenter from this package's own safetensors form.

    Raises:
        UserError: the file is damaged or holds something else.

    """
    try:
        with safe_open(path, framework='pt') as stored:
            metadata = stored.metadata() or {}
            state = {key: stored.get_tensor(key).float() for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f'{path} cannot be read as safetensors: {error}') from error
    if metadata.get('architecture') != 'segformer':
        raise UserError(f'{path} holds no image segmenter: it must be written by `vseg train iss`')
    segmenter = new_segformer(LabelSet.from_names(json.loads(metadata['classes'])),
                              metadata['variant'])
    try:
        segmenter.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise UserError(f'{path} does not fit its own metadata ({first}): it is damaged, '
                        'train or download it again') from error
    return segmenter.eval().requires_grad_(False)


def write_segmenter(segmenter: ImageSegmenter, path: Path, variant: str) -> None:
    """
    Write a SegFormer in this package's own form: fp16 safetensors with metadata.

    Args:
        segmenter: made by `new_segformer`.
        path: file to write.
        variant: its MiT size, 'b0' to 'b5'.

    """
    state = {key: value.half() if value.is_floating_point() else value
             for key, value in segmenter.state_dict().items()}
    metadata = {'architecture': 'segformer', 'variant': variant,
                'classes': json.dumps(segmenter.label_set.names)}
    save_file({key: value.contiguous().cpu() for key, value in state.items()}, path, metadata)


def _from_transformers(weights: Weights) -> ImageSegmenter:
    source = str(weights.path or weights.name)
    try:
        config = SegformerConfig.from_pretrained(source)
        if config.architectures and 'Segformer' not in config.architectures[0]:
            raise UserError(f'{source} is a {config.architectures[0]}, not a SegFormer: wrap it '
                            'with vseg_ros.models.segmenter.ImageSegmenter')
        model = SegformerForSemanticSegmentation.from_pretrained(source, dtype=torch.float32)
    except (OSError, ValueError, SafetensorError) as error:
        if weights.kind == 'hub':
            raise UserError(hub_advice(weights.name)) from error
        first = str(error).splitlines()[0]
        raise UserError(f'{source} is no SegFormer saved by transformers: {first}') from error
    names = [config.id2label[i] for i in range(config.num_labels)]
    return adapt_segformer(model, LabelSet.from_names(names)).eval().requires_grad_(False)
