"""The released DiTTA in parts. Equal outputs: test/commands/test_convert_released.py."""

from __future__ import annotations

import torch

from vseg_ros.ditta.released_checkpoint import split_initial


def test_parts() -> None:
    state = {name: torch.full((1,), float(number)) for number, name in enumerate((
        'backbone.norm1.weight', 'decode_head.query_layer.0.weight',
        'decode_head.key_layer.2.bias', 'decode_head.proj_feat.4.weight',
        'decode_head.value_layer.0.weight', 'decode_head.linear_pred.weight'))}
    initial, others = split_initial(state)
    assert {name: value.item() for name, value in initial.items()} == {
        'addon.query_layer.0.weight': 1, 'addon.key_layer.2.bias': 2, 'projection.4.weight': 3}
    assert list(others) == ['backbone.norm1.weight', 'decode_head.linear_pred.weight']
