"""
SegFormer's weights from the authors' names to those in transformers' files (Xie et al. 2021).

Checkpoints trained by the authors' code, or by anything that kept its modules, name the stages 1
to 4 and hold keys and values as one matrix:

    backbone.patch_embed1.proj     backbone.block1.0.attn.kv     decode_head.linear_c1.proj
    backbone.norm1                 backbone.block1.0.mlp.fc1     decode_head.linear_fuse.conv

`places` lists, for a size, every name with its shape and what transformers calls it; a checkpoint
must have exactly these. The size is told from the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from vseg_ros.errors import UserError
from vseg_ros.models.segformer import SEGFORMER_VARIANTS
from vseg_ros.models.weight_places import check_places, shapes_of

COUNTED = 'num_batches_tracked'
UNUSED = ('decode_head.conv_seg.', f'decode_head.linear_fuse.bn.{COUNTED}')
"""What a checkpoint may have besides: a classifier that no image passes, a count of batches."""

REDUCTIONS, EXPANSION = (8, 4, 2, 1), 4
"""Of the keys and values by stage, and of the perceptrons; the same in all sizes."""


class SegformerSize(NamedTuple):
    """
    What the weights tell of a SegFormer.

    Attributes:
        variant: 'b0' to 'b5'.
        channels: of the four stages.
        depths: blocks of the four stages.
        width: D, channels of the decoder; by default 256 for B0 and B1, else 768.
        classes: C.

    """

    variant: str
    channels: tuple[int, ...]
    depths: tuple[int, ...]
    width: int
    classes: int

    def __str__(self) -> str:
        """Say it in a few words."""
        return f'SegFormer-{self.variant.upper()}, {self.classes} classes'

    def config(self, names: Sequence[str]) -> SegformerConfig:
        """Return transformers' configuration with these class names."""
        return SegformerConfig.from_dict({
            'hidden_sizes': list(self.channels), 'depths': list(self.depths),
            'decoder_hidden_size': self.width, 'sr_ratios': list(REDUCTIONS),
            'mlp_ratios': [EXPANSION] * 4, 'num_attention_heads': [1, 2, 5, 8],
            'architectures': [SegformerForSemanticSegmentation.__name__],
            'id2label': dict(enumerate(names)),
            'label2id': {name: i for i, name in enumerate(names)}})


class Place(NamedTuple):
    """
    Where a released weight goes.

    Attributes:
        names: of transformers; of several, each takes an equal share of the rows.
        shape: of the released weight.

    """

    names: tuple[str, ...]
    shape: tuple[int, ...]


def released_segformer(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], SegformerSize]:
    """
    Rename the weights of a SegFormer.

    Args:
        state: the authors' names, of nothing but a SegFormer.

    Returns:
        transformers' names as in its files, and the size; the tensors share memory.

    Raises:
        UserError: a weight is missing, left over, or of another shape, or the size is unknown.

    """
    size = told_size(state)
    used = {name: value for name, value in state.items() if not name.startswith(UNUSED)}
    wanted = places(size)
    check_places('SegFormer', shapes_of(used), {name: to.shape for name, to in wanted.items()},
                 'only checkpoints of the released SegFormer can be converted')
    renamed: dict[str, Tensor] = {}
    for name, place in wanted.items():
        renamed.update(zip(place.names, used[name].chunk(len(place.names)), strict=True))
    renamed[f'decode_head.batch_norm.{COUNTED}'] = torch.tensor(0)
    return renamed, size


def told_size(state: Mapping[str, Tensor]) -> SegformerSize:
    """
    Tell the size of a SegFormer from the shapes of its weights, in the authors' names.

    Raises:
        UserError: it is none of B0 to B5, or no SegFormer with its decoder.

    """
    channels = tuple(_rows(state, f'backbone.patch_embed{stage}.proj.weight')
                     for stage in range(1, 5))
    depths = tuple(next(block for block in count()
                        if f'backbone.block{stage}.{block}.norm1.weight' not in state)
                   for stage in range(1, 5))
    width = _rows(state, 'decode_head.linear_c1.proj.weight')
    classes = _rows(state, 'decode_head.linear_pred.weight')
    for variant, sizes in SEGFORMER_VARIANTS.items():
        if (list(channels), list(depths)) == (sizes['hidden_sizes'], sizes['depths']):
            return SegformerSize(variant, channels, depths, width, classes)
    raise UserError(f'the checkpoint has stages of {list(channels)} channels with {list(depths)} '
                    'blocks, which is none of SegFormer-B0 to B5')


def _rows(state: Mapping[str, Tensor], name: str) -> int:
    if name not in state or not state[name].ndim:
        raise UserError(f'the checkpoint is no SegFormer with its decoder: it has no {name!r}')
    return len(state[name])


def places(size: SegformerSize) -> dict[str, Place]:
    """List every weight of a SegFormer by its released name."""
    found: dict[str, Place] = {}
    before = 3
    for stage, (channels, depth) in enumerate(zip(size.channels, size.depths, strict=True)):
        found.update(_stage(stage, before, channels, depth))
        found.update(_linear(f'decode_head.linear_c{stage + 1}.proj',
                             f'decode_head.linear_c.{stage}.proj', size.width, channels))
        before = channels
    fuse = (size.width, len(size.channels) * size.width, 1, 1)
    found['decode_head.linear_fuse.conv.weight'] = Place(('decode_head.linear_fuse.weight',), fuse)
    found.update(_batch_norm('decode_head.linear_fuse.bn', 'decode_head.batch_norm', size.width))
    found.update(_layer('decode_head.linear_pred', 'decode_head.classifier',
                        (size.classes, size.width, 1, 1)))
    return found


def _stage(stage: int, before: int, channels: int, depth: int) -> Iterator[tuple[str, Place]]:
    theirs = f'backbone.patch_embed{stage + 1}'
    ours = f'segformer.encoder.patch_embeddings.{stage}'
    side = 3 if stage else 7
    yield from _layer(f'{theirs}.proj', f'{ours}.proj', (channels, before, side, side))
    yield from _norm(f'{theirs}.norm', f'{ours}.layer_norm', channels)
    for block in range(depth):
        yield from _block(f'backbone.block{stage + 1}.{block}',
                          f'segformer.encoder.block.{stage}.{block}', channels, REDUCTIONS[stage])
    yield from _norm(f'backbone.norm{stage + 1}', f'segformer.encoder.layer_norm.{stage}',
                     channels)


def _block(theirs: str, ours: str, channels: int, reduction: int) -> Iterator[tuple[str, Place]]:
    inside = f'{ours}.attention.self'
    yield from _norm(f'{theirs}.norm1', f'{ours}.layer_norm_1', channels)
    yield from _linear(f'{theirs}.attn.q', f'{inside}.query', channels, channels)
    for part, shape in (('weight', (2 * channels, channels)), ('bias', (2 * channels,))):
        yield f'{theirs}.attn.kv.{part}', Place((f'{inside}.key.{part}', f'{inside}.value.{part}'),
                                                shape)
    yield from _linear(f'{theirs}.attn.proj', f'{ours}.attention.output.dense', channels, channels)
    if reduction > 1:
        yield from _layer(f'{theirs}.attn.sr', f'{inside}.sr',
                          (channels, channels, reduction, reduction))
        yield from _norm(f'{theirs}.attn.norm', f'{inside}.layer_norm', channels)
    yield from _norm(f'{theirs}.norm2', f'{ours}.layer_norm_2', channels)
    wide = EXPANSION * channels
    yield from _linear(f'{theirs}.mlp.fc1', f'{ours}.mlp.dense1', wide, channels)
    yield from _layer(f'{theirs}.mlp.dwconv.dwconv', f'{ours}.mlp.dwconv.dwconv', (wide, 1, 3, 3))
    yield from _linear(f'{theirs}.mlp.fc2', f'{ours}.mlp.dense2', channels, wide)


def _layer(theirs: str, ours: str, shape: tuple[int, ...]) -> Iterator[tuple[str, Place]]:
    """Yield weight and bias of a convolution or linear layer."""
    yield f'{theirs}.weight', Place((f'{ours}.weight',), shape)
    yield f'{theirs}.bias', Place((f'{ours}.bias',), shape[:1])


def _linear(theirs: str, ours: str, to: int, of: int) -> Iterator[tuple[str, Place]]:
    return _layer(theirs, ours, (to, of))


def _norm(theirs: str, ours: str, channels: int) -> Iterator[tuple[str, Place]]:
    return _layer(theirs, ours, (channels,))


def _batch_norm(theirs: str, ours: str, channels: int) -> Iterator[tuple[str, Place]]:
    yield from _norm(theirs, ours, channels)
    for part in ('running_mean', 'running_var'):
        yield f'{theirs}.{part}', Place((f'{ours}.{part}',), (channels,))
