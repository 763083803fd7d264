"""The reordered SegFormer decoder against transformers' own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import SegformerForSemanticSegmentation

from vseg_ros.labels import DRIVING, LabelSet
from vseg_ros.models.segformer import (
    SegformerDecoder,
    adapt_segformer,
    decode_folded,
    fuse_levels,
    fuse_levels_by_products,
    new_segformer,
)

MakeSegformer = Callable[[], SegformerForSemanticSegmentation]


@pytest.fixture
def features() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)
                 for channels, height, width in
                 ((8, 13, 18), (16, 7, 9), (20, 4, 5), (24, 2, 3)))


def gradients(head: nn.Module, logits: Tensor) -> dict[str, Tensor]:
    head.zero_grad()
    (logits ** 2).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in head.named_parameters()}


@pytest.mark.parametrize('training', [False, True])
def test_is_transformers_head(make_hf_segformer: MakeSegformer, features: tuple[Tensor, ...],
                              training: bool) -> None:
    """Values, gradients, and the running statistics that training leaves."""
    ours, theirs = (make_hf_segformer().decode_head.double().train(training) for _ in range(2))
    ours.dropout.p = theirs.dropout.p = 0.0
    decoder = SegformerDecoder(ours).train(training)
    seen = []
    theirs.dropout.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    expected, decoded = theirs(features), decoder(features)
    torch.testing.assert_close(decoded.logits, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(decoded.embedding, seen[0], rtol=0, atol=1e-9)
    assert decoder.embedding_width == decoded.embedding.shape[1] == 16
    found = gradients(ours, decoded.logits)
    for name, gradient in gradients(theirs, expected).items():
        # the bias of a linear ahead of batch normalisation has no gradient but rounding
        torch.testing.assert_close(found[name], gradient, rtol=1e-7, atol=1e-7)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-9, atol=1e-9)


def test_both_ways_of_fusing_levels_are_one(features: tuple[Tensor, ...]) -> None:
    matrices = [torch.randn(16, each.shape[1], dtype=torch.float64) for each in features]
    bias = torch.randn(16, dtype=torch.float64)
    torch.testing.assert_close(fuse_levels_by_products(features, matrices, bias),
                               fuse_levels(features, matrices, bias), rtol=0, atol=1e-12)


@torch.no_grad()
def test_in_single_precision(make_hf_segformer: MakeSegformer,
                             features: tuple[Tensor, ...]) -> None:
    head = make_hf_segformer().decode_head
    single = tuple(feature.float() for feature in features)
    for decoder in (SegformerDecoder(head), SegformerDecoder(head).fold()):
        torch.testing.assert_close(decoder.eval()(single).logits, head(single),
                                   rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_folded_equals_unfolded(make_hf_segformer: MakeSegformer,
                                features: tuple[Tensor, ...]) -> None:
    decoder = SegformerDecoder(make_hf_segformer().decode_head.double()).eval()
    expected, folded = decoder(features), decoder.fold()
    for found in (folded(features), decode_folded(features, folded.weights())):
        torch.testing.assert_close(found.embedding, expected.embedding, rtol=0, atol=1e-9)
        torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-9)
    for number in range(len(expected.logits)):
        alone = folded(tuple(feature[number:number + 1] for feature in features))
        torch.testing.assert_close(alone.embedding, expected.embedding[number:number + 1],
                                   rtol=0, atol=1e-9)
        torch.testing.assert_close(alone.logits, expected.logits[number:number + 1],
                                   rtol=0, atol=1e-9)


@torch.no_grad()
def test_one_image_is_decoded_in_bfloat16_as_well(make_hf_segformer: MakeSegformer,
                                                  features: tuple[Tensor, ...]) -> None:
    folded = SegformerDecoder(make_hf_segformer().decode_head).eval().fold()
    single = tuple(feature[:1].float() for feature in features)
    with torch.autocast('cpu', torch.bfloat16):
        found = folded(single)
    assert found.embedding.dtype == found.logits.dtype == torch.bfloat16
    expected = folded(single)
    assert expected.embedding.stride()[1] == 1, 'channels are last in memory'
    torch.testing.assert_close(found.logits.float(), expected.logits, rtol=0, atol=0.05)


@torch.no_grad()
def test_folded_shares_nothing(make_hf_segformer: MakeSegformer,
                               features: tuple[Tensor, ...]) -> None:
    decoder = SegformerDecoder(make_hf_segformer().decode_head.double()).eval()
    folded = decoder.fold()
    before = folded(features).logits
    for parameter in decoder.parameters():
        parameter.zero_()
    assert torch.equal(folded(features).logits, before)


def test_dropout_falls_behind_the_embedding(make_hf_segformer: MakeSegformer,
                                            features: tuple[Tensor, ...]) -> None:
    decoder = SegformerDecoder(make_hf_segformer().decode_head.double()).train()
    decoder.head.dropout.p = 0.5
    torch.manual_seed(0)
    decoded = decoder(features)
    torch.manual_seed(1)
    again = decoder(features)
    torch.testing.assert_close(decoded.embedding, again.embedding)
    assert not torch.allclose(decoded.logits, again.logits)
    assert not torch.allclose(decoder.eval()(features).logits, decoded.logits)


@torch.no_grad()
def test_whole_model(make_hf_segformer: MakeSegformer,
                     make_image: Callable[..., np.ndarray]) -> None:
    model = make_hf_segformer()
    segmenter = adapt_segformer(model, LabelSet.from_names(list('abcde'))).eval()
    images = torch.from_numpy(make_image(64, 96))[None]
    features = segmenter.encode(images)
    assert [feature.shape[-2:] for feature in features] == [
        (16, 24), (8, 12), (4, 6), (2, 3)]
    expected = model(segmenter.normalize(images)).logits
    torch.testing.assert_close(segmenter(images).logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(('variant', 'millions'), [
    ('b0', 3.8), ('b1', 13.7), ('b2', 27.5), ('b3', 47.3), ('b4', 64.1), ('b5', 84.7)])
def test_sizes_are_those_of_the_paper(variant: str, millions: float) -> None:
    """Table 1 of the SegFormer paper counts with the 150 classes of ADE20K."""
    with torch.device('meta'):
        segmenter = new_segformer(LabelSet.from_names([str(i) for i in range(150)]), variant)
    count = sum(parameter.numel() for parameter in segmenter.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.06)


def test_new_network_passes_signals_on() -> None:
    """From scratch, no layer may start so weak that the image is lost on its way."""
    torch.manual_seed(0)
    segmenter = new_segformer(DRIVING)
    assert segmenter.label_set == DRIVING
    noise = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        decoded = segmenter(noise)
    assert decoded.logits.shape == (2, 15, 16, 16)
    assert decoded.embedding.std((0, 2, 3)).mean() > 0.1
