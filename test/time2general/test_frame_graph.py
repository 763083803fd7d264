"""The frame's part in its quick form gives what the form beside the paper gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vseg_ros.labels import LabelSet
from vseg_ros.time2general.frame_graph import FrameGraph
from vseg_ros.time2general.model import Time2General, Time2GeneralHead
from vseg_ros.training_settings import Time2GeneralModelSettings

CLASSES = LabelSet.from_names(['road', 'sky', 'car'])
PYRAMID = ((8, 12), (4, 6), (2, 3))


def maps(channels: tuple[int, ...], sizes: tuple[tuple[int, int], ...]) -> tuple[Tensor, ...]:
    return tuple(torch.randn(1, width, *size)
                 for width, size in zip(channels, sizes, strict=True))


@pytest.mark.parametrize('case', ['plain', 'text', 'depth', 'unmodulated', 'upsampled', 'flat',
                                  'coarse first', 'standardized'])
def test_equals_modulation_and_fusion(case: str, make_spread) -> None:
    channels = (6, 10, 12)
    sizes = {'flat': PYRAMID[1:2] * 3, 'coarse first': PYRAMID[::-1]}.get(case, PYRAMID)
    settings = Time2GeneralModelSettings.model_validate({
        'queries': 5, 'width': 8, 'heads': 2, 'decoder_blocks': 1, 'feed_forward': 8,
        'clip_length': 2, 'modulation': case != 'unmodulated',
        'standardize': case == 'standardized',
        'upsampling': 2 * (case == 'upsampled')})
    text = torch.randn(3, 7) if case == 'text' else None
    depth_channels = (4, 4, 4) if case in ('depth', 'standardized') else ()
    head = Time2GeneralHead(channels, 3, settings, text, depth_channels)
    make_spread(head)
    model = Time2General(head, nn.Identity(), CLASSES).eval()  # type: ignore[arg-type]
    features = maps(channels, sizes)
    depth = maps(depth_channels, sizes) if depth_channels else ()
    with torch.no_grad():
        pixels = head.modulate(features, depth)
        expected = head.fuse(pixels)[0].flatten(1).T
        cells, fused = FrameGraph(model).head(features, depth)
    assert expected.std() > 0.1
    torch.testing.assert_close(cells, pixels.cells[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fused, expected, rtol=1e-4, atol=1e-5)
