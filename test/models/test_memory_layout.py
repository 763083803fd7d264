"""Convolution weights channels last: the same values, results and files."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import SegformerForSemanticSegmentation

from vseg_ros.baselines.adapted_runtime import new_copy
from vseg_ros.labels import LabelSet
from vseg_ros.models.loading import write_segmenter
from vseg_ros.models.memory_layout import channels_last
from vseg_ros.models.nano_sam2 import new_nano_sam2
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.sam2_network import Sam2Network
from vseg_ros.models.segformer import adapt_segformer
from vseg_ros.models.segmenter import ImageSegmenter

MakeSegformer = Callable[[], SegformerForSemanticSegmentation]
CPU = torch.device('cpu')


@pytest.fixture
def segmenter(make_hf_segformer: MakeSegformer) -> ImageSegmenter:
    made = adapt_segformer(make_hf_segformer(), LabelSet.from_names(list('abcde')))
    return made.eval().requires_grad_(False)


def is_last(network: nn.Module) -> bool:
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert convolutions
    return all(module.weight.is_contiguous(memory_format=torch.channels_last)
               for module in convolutions)


def test_results_stay_and_tokens_pass_a_convolution_as_they_lie(
        segmenter: ImageSegmenter, make_image: Callable[..., np.ndarray]) -> None:
    image = torch.tensor(make_image())[None]
    expected = segmenter(image).logits
    layouts: list[bool] = []

    def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        layouts.extend(x.is_contiguous(memory_format=torch.channels_last)
                       for x in (inputs[0], output))

    for module in channels_last(segmenter).backbone.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.register_forward_hook(note)
    torch.testing.assert_close(segmenter(image).logits, expected, rtol=0, atol=1e-5)
    assert len(layouts) == 8
    assert all(layouts)


def test_whatever_runs_eagerly_is_laid_out_so(segmenter: ImageSegmenter) -> None:
    assert not is_last(segmenter)
    assert is_last(new_copy(segmenter, CPU))
    for dtype in (torch.float32, torch.bfloat16):
        assert is_last(TorchRuntime(copy.deepcopy(segmenter), CPU, dtype)._segmenter)
    sam = new_nano_sam2()
    Sam2Network(sam)
    assert is_last(sam)


def test_a_file_does_not_tell_the_layout(segmenter: ImageSegmenter, tmp_path: Path) -> None:
    write_segmenter(segmenter, tmp_path / 'before.safetensors')
    write_segmenter(channels_last(segmenter), tmp_path / 'after.safetensors')
    before, after = (load_file(tmp_path / f'{name}.safetensors') for name in ('before', 'after'))
    assert before.keys() == after.keys()
    for name, value in after.items():
        assert value.is_contiguous()
        assert torch.equal(value, before[name]), name
