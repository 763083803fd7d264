"""An adapted backbone runs as its source does: through onnxruntime or PyTorch, alike."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vseg_ros.baselines.adapted_runtime import adapted_runtime, new_copy, place_weights
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.segmenter import ImageSegmenter

Images = Callable[[int], NDArray[np.uint8]]


def moved(source: ImageSegmenter) -> ImageSegmenter:
    """A copy of which every weight is another."""
    generator = torch.Generator().manual_seed(2)
    adapted = new_copy(source, torch.device('cpu'))
    with torch.no_grad():
        for value in adapted.parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=generator))
    return adapted


@pytest.fixture
def source(write_tiny: Callable[..., Path]) -> ImageSegmenter:
    return load_segmenter(str(write_tiny()))


def exported(source: ImageSegmenter) -> Any:
    """The backbone's weights as the exporter stores them: two merged, a matrix transposed."""
    from onnx import helper, numpy_helper
    tensors = []
    for name, value in source.backbone.state_dict().items():
        array = value.numpy()
        if value.ndim == 2:
            array, name = np.ascontiguousarray(array.T), f'val_{len(tensors)}'
        else:
            name = f'segmenter.backbone.{name}'
        tensors.append(numpy_helper.from_array(array, name))
    tensors.append(numpy_helper.from_array(np.float32(3.5), 'segmenter.mean'))
    return helper.make_model(helper.make_graph([], 'weights', [], [], tensors))


def test_weights_are_placed_by_name_and_by_value(source: ImageSegmenter) -> None:
    from onnx import numpy_helper
    unlike = moved(source)  # a new network's biases are all alike
    adapted = moved(unlike)
    graph = exported(unlike)
    place_weights(graph, unlike, adapted)
    expected = exported(adapted).graph.initializer
    assert len(graph.graph.initializer) == len(expected)
    for ours, theirs in zip(graph.graph.initializer, expected, strict=True):
        assert ours.name == theirs.name
        assert np.array_equal(numpy_helper.to_array(ours), numpy_helper.to_array(theirs))


def test_a_weight_that_is_not_in_the_graph_is_told(source: ImageSegmenter) -> None:
    unlike = moved(source)
    graph = exported(unlike)
    lost = next(tensor for tensor in graph.graph.initializer if 'patch_embed' in tensor.name)
    lost.name = 'something_else'
    with pytest.raises(LookupError, match=r'1 weights, such as .*patch_embed'):
        place_weights(graph, unlike, moved(unlike))
    place_weights(graph, unlike, unlike)


def test_pytorch_takes_another_backbone(source: ImageSegmenter, moving_image: Images) -> None:
    adapted = moved(source)
    runtime = TorchRuntime(copy.deepcopy(source), torch.device('cpu'))
    before = runtime.infer(moving_image(0)).logits
    other = adapted_runtime(runtime, source, adapted, 'float32')
    with torch.no_grad():
        expected = adapted(torch.from_numpy(moving_image(0))[None]).logits
    torch.testing.assert_close(other.infer(moving_image(0)).logits, expected, rtol=1e-4,
                               atol=1e-4)
    assert torch.equal(runtime.infer(moving_image(0)).logits, before)


def test_a_decoder_alone_is_swapped_into_the_same_runtime(source: ImageSegmenter,
                                                          moving_image: Images) -> None:
    adapted = new_copy(source, torch.device('cpu'))
    adapted.decoder = moved(source).decoder
    runtime = TorchRuntime(copy.deepcopy(source), torch.device('cpu'))
    assert adapted_runtime(runtime, source, adapted, 'float32') is runtime
    with torch.no_grad():
        expected = adapted(torch.from_numpy(moving_image(0))[None]).logits
    torch.testing.assert_close(runtime.infer(moving_image(0)).logits, expected, rtol=1e-4,
                               atol=1e-4)
