"""Every weight has a place, every place its weight."""

from __future__ import annotations

import pytest
from torch import nn

from vseg_ros.errors import UserError
from vseg_ros.models.weight_places import check_places, shapes_of

SHAPES = {'weight': (2, 3), 'bias': (2,)}


def test_what_fits() -> None:
    layer = nn.Linear(3, 2)
    assert shapes_of(layer.state_dict()) == SHAPES
    check_places('layer', SHAPES, layer)
    check_places('layer', SHAPES, dict(SHAPES))


@pytest.mark.parametrize(('shapes', 'message'), [
    ({'weight': (2, 3)}, r"the checkpoint's layer lacks weights \(1, such as bias\): ask"),
    ({**SHAPES, 'z': (), 'x': ()}, r'layer has unknown weights \(2, such as x\): ask'),
    ({'weight': (3, 2), 'bias': (2,)}, r'another size: weight is \[3, 2\], not \[2, 3\]')])
def test_what_does_not(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_places('layer', shapes, nn.Linear(3, 2), 'ask')
