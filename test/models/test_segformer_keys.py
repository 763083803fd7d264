"""SegFormer's names: some of every kind as plain data, and all published sizes."""

from __future__ import annotations

import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.labels import LabelSet
from vseg_ros.models.segformer import SEGFORMER_VARIANTS, new_segformer
from vseg_ros.models.segformer_keys import (
    SegformerSize,
    places,
    released_segformer,
    told_size,
)

B0 = SegformerSize('b0', (32, 64, 160, 256), (2, 2, 2, 2), 256, 19)
BLOCK = 'segformer.encoder.block.2.1'
NAMES = {
    'backbone.patch_embed1.proj.weight':
        (('segformer.encoder.patch_embeddings.0.proj.weight',), (32, 3, 7, 7)),
    'backbone.patch_embed4.norm.bias':
        (('segformer.encoder.patch_embeddings.3.layer_norm.bias',), (256,)),
    'backbone.block3.1.norm1.weight': ((f'{BLOCK}.layer_norm_1.weight',), (160,)),
    'backbone.block3.1.attn.kv.weight':
        ((f'{BLOCK}.attention.self.key.weight', f'{BLOCK}.attention.self.value.weight'),
         (320, 160)),
    'backbone.block3.1.attn.sr.weight': ((f'{BLOCK}.attention.self.sr.weight',), (160, 160, 2, 2)),
    'backbone.block3.1.attn.norm.bias': ((f'{BLOCK}.attention.self.layer_norm.bias',), (160,)),
    'backbone.block3.1.mlp.dwconv.dwconv.weight':
        ((f'{BLOCK}.mlp.dwconv.dwconv.weight',), (640, 1, 3, 3)),
    'backbone.norm2.bias': (('segformer.encoder.layer_norm.1.bias',), (64,)),
    'decode_head.linear_c4.proj.weight': (('decode_head.linear_c.3.proj.weight',), (256, 256)),
    'decode_head.linear_fuse.conv.weight': (('decode_head.linear_fuse.weight',),
                                            (256, 1024, 1, 1)),
    'decode_head.linear_fuse.bn.running_var': (('decode_head.batch_norm.running_var',), (256,)),
    'decode_head.linear_pred.weight': (('decode_head.classifier.weight',), (19, 256, 1, 1)),
}


@pytest.mark.parametrize('name', NAMES)
def test_names(name: str) -> None:
    assert tuple(places(B0)[name]) == NAMES[name]


def test_the_last_stage_does_not_reduce() -> None:
    assert not [name for name in places(B0) if name.startswith('backbone.block4') and 'sr' in name]


@pytest.mark.parametrize('variant', SEGFORMER_VARIANTS)
def test_published_sizes(variant: str) -> None:
    """Weights of every size have all their places, and the size is told from them."""
    sizes = SEGFORMER_VARIANTS[variant]
    size = SegformerSize(variant, tuple(sizes['hidden_sizes']), tuple(sizes['depths']), 32, 3)
    with torch.device('meta'):
        state = {name: torch.empty(place.shape) for name, place in places(size).items()}
        model = new_segformer(LabelSet.from_names(('a', 'b', 'c')), variant).backbone.encoder
    assert told_size(state) == size
    renamed, _ = released_segformer(state)
    encoder = [value.shape for name, value in renamed.items() if name.startswith('segformer.')]
    assert sorted(encoder) == sorted(value.shape for value in model.state_dict().values())


def test_keys_and_values_are_halves() -> None:
    state = {name: torch.zeros(place.shape) for name, place in places(B0).items()}
    state['backbone.block1.0.attn.kv.bias'] = torch.arange(64.)
    renamed, _ = released_segformer(state)
    inside = 'segformer.encoder.block.0.0.attention.self'
    assert renamed[f'{inside}.key.bias'].tolist() == list(range(32))
    assert renamed[f'{inside}.value.bias'].tolist() == list(range(32, 64))


def test_what_is_no_segformer() -> None:
    with pytest.raises(UserError, match=r"no SegFormer .* no 'backbone\.patch_embed1"):
        told_size({'layer.weight': torch.ones(1)})
