"""Weights converted once: what autocast computes, bit for bit, and nobody else's weights."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from transformers import SegformerForSemanticSegmentation

from vseg_ros.labels import LabelSet
from vseg_ros.models.reduced_precision import reduce_weights
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.segformer import adapt_segformer
from vseg_ros.models.segmenter import ImageSegmenter

MakeSegformer = Callable[[], SegformerForSemanticSegmentation]
MakeImage = Callable[..., np.ndarray]


def assert_same_under_autocast(segmenter: ImageSegmenter, image: np.ndarray) -> None:
    segmenter = segmenter.eval().requires_grad_(False)
    reduced = reduce_weights(copy.deepcopy(segmenter), torch.bfloat16)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        expected, found = (each.decoder(each.encode(torch.tensor(image)[None]))
                           for each in (segmenter, reduced))
    assert expected.logits.std() > 0.01
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.embedding, expected.embedding)


def test_a_segformer_computes_the_same(make_hf_segformer: MakeSegformer,
                                       make_image: MakeImage) -> None:
    segmenter = adapt_segformer(make_hf_segformer(), LabelSet.from_names(list('abcde')))
    assert_same_under_autocast(segmenter, make_image())


def test_convolutions_and_batch_statistics_compute_the_same(ocrnet: ImageSegmenter,
                                                            make_image: MakeImage) -> None:
    assert_same_under_autocast(ocrnet, make_image())


def test_norms_stay_exact_and_float32_is_left_alone(ocrnet: ImageSegmenter) -> None:
    before = copy.deepcopy(ocrnet.state_dict())
    reduce_weights(ocrnet, torch.float32)
    assert all(torch.equal(before[name], value) for name, value in ocrnet.state_dict().items())
    reduce_weights(ocrnet, torch.bfloat16)
    formats = {type(module).__name__: {value.dtype for value in module.parameters(recurse=False)}
               for module in ocrnet.modules()}
    assert formats['Conv2d'] == {torch.bfloat16}
    assert formats['BatchNorm2d'] == {torch.float32}


def test_a_runtime_leaves_its_segmenter_exact(ocrnet: ImageSegmenter,
                                              make_image: MakeImage) -> None:
    before = copy.deepcopy(ocrnet.state_dict())
    runtime = TorchRuntime(ocrnet, torch.device('cpu'), torch.bfloat16)
    first = runtime.infer(make_image()).logits
    runtime.set_decoder(ocrnet.decoder)
    assert torch.equal(runtime.infer(make_image()).logits, first)
    assert {value.dtype for value in runtime._decoder.parameters()} == {torch.float32,
                                                                       torch.bfloat16}
    for name, value in ocrnet.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name]), name
