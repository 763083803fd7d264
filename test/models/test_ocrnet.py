"""OCRNet against its equations spelled out, on disk, and under DiTTA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vseg_ros.frame import Frame
from vseg_ros.labels import DRIVING
from vseg_ros.models.loading import load_segmenter
from vseg_ros.models.ocrnet import OcrDecoder, new_ocrnet
from vseg_ros.models.runtime import TorchRuntime
from vseg_ros.models.segmenter import ImageSegmenter
from vseg_ros.pipeline import PipelineState, create_pipeline
from vseg_ros.settings import DittaSettings, SegmenterSettings

CHANNELS, SIZE = (6, 4), (4, 5)


@pytest.fixture
def decoder() -> OcrDecoder:
    torch.manual_seed(0)
    decoder = OcrDecoder(CHANNELS, 3, 8, 5).double().eval()
    with torch.no_grad():
        for module in decoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 1.5)
                module.weight.normal_(1)
                module.bias.normal_()
    return decoder


@pytest.fixture
def features() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(2, channels, SIZE[0] // step, -(-SIZE[1] // step),
                             generator=generator, dtype=torch.float64)
                 for channels, step in zip(CHANNELS, (1, 2), strict=True))


def apply(transform: nn.Sequential, vector: Tensor) -> Tensor:
    """Apply 1x1 transforms (convolution, batch normalisation, ReLU) to one vector."""
    for module in transform.modules():
        if isinstance(module, nn.Conv2d):
            vector = module.weight[:, :, 0, 0] @ vector
            vector = vector if module.bias is None else vector + module.bias
        elif isinstance(module, nn.BatchNorm2d):
            vector = ((vector - module.running_mean) / (module.running_var + module.eps).sqrt()
                      * module.weight + module.bias)
        elif isinstance(module, nn.ReLU):
            vector = vector.clamp_min(0)
    return vector


def literal_ocr(decoder: OcrDecoder, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sec. 3.2 of the paper for one image, [D, h, w], place by place."""
    places = [(y, x) for y in range(SIZE[0]) for x in range(SIZE[1])]
    drawn = {at: apply(decoder.auxiliary, levels[:, at[0], at[1]]) for at in places}
    convolution = decoder.pixel[0]
    surrounded = F.pad(levels, (1, 1, 1, 1))
    pixels = {}
    for y, x in places:
        window = surrounded[:, y:y + 3, x:x + 3]
        summed = torch.stack([(kernel * window).sum() for kernel in convolution.weight])
        pixels[y, x] = apply(decoder.pixel[1:], summed)
    objects = []
    for k in range(3):
        shares = {at: float(drawn[at][k].exp()) for at in places}
        total = sum(shares.values())
        objects.append(sum(shares[at] / total * pixels[at] for at in places))
    embedding, logits, auxiliary = (torch.empty(n, *SIZE, dtype=torch.float64) for n in (8, 3, 3))
    for at in places:
        query = apply(decoder.query, pixels[at])
        relation = torch.stack([query @ apply(decoder.key, thing) for thing in objects])
        relation = (relation / 5 ** 0.5).softmax(0)
        context = apply(decoder.output, sum(
            w * apply(decoder.value, thing)
            for w, thing in zip(relation, objects, strict=True)))
        fused = apply(decoder.fuse, torch.cat([pixels[at], context]))
        where = (slice(None), *at)
        embedding[where], auxiliary[where] = fused, drawn[at]
        logits[where] = decoder.classifier.weight[:, :, 0, 0] @ fused + decoder.classifier.bias
    return embedding, logits, auxiliary


@torch.no_grad()
def test_is_the_paper_spelled_out(decoder: OcrDecoder, features: tuple[Tensor, ...]) -> None:
    decoded, regions = decoder.decode_with_regions(features)
    resized = F.interpolate(features[1], size=SIZE, mode='bilinear', align_corners=False)
    for index in range(2):
        levels = torch.cat([features[0][index], resized[index]])
        expected = literal_ocr(decoder, levels)
        for found, wanted in zip((*decoded, regions), expected, strict=True):
            torch.testing.assert_close(found[index], wanted, rtol=0, atol=1e-10)
    assert (decoded.embedding > 0).double().mean() > 0.1
    alone = decoder(features)
    assert torch.equal(alone.embedding, decoded.embedding)


def test_the_embedding_comes_before_dropout(decoder: OcrDecoder,
                                            features: tuple[Tensor, ...]) -> None:
    decoder.train()
    decoder.dropout.p = 1.0
    decoded = decoder(features)
    assert decoded.embedding.abs().sum() > 0
    expected = decoder.classifier.bias[:, None, None].expand(2, 3, *SIZE)
    torch.testing.assert_close(decoded.logits, expected)


def test_every_parameter_learns(decoder: OcrDecoder, features: tuple[Tensor, ...]) -> None:
    decoder.train()
    decoded, regions = decoder.decode_with_regions(features)
    (decoded.logits.square().sum() + regions.square().sum()).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(('backbone', 'multiple', 'cells'), [
    ({'model_type': 'convnext', 'hidden_sizes': [8, 12], 'depths': [1, 1], 'num_stages': 2,
      'out_indices': [1, 2]}, 32, (16, 24)),
    ({'model_type': 'dinov2', 'hidden_size': 24, 'num_hidden_layers': 2,
      'num_attention_heads': 2, 'out_indices': [1, 2]}, 14, (2, 3))])
def test_other_backbones(backbone: dict[str, object], multiple: int,
                         cells: tuple[int, int]) -> None:
    model = new_ocrnet(DRIVING, backbone, 16, 8).eval()
    assert model.size_multiple == multiple
    image = torch.zeros(1, 2 * multiple, 3 * multiple, 3, dtype=torch.uint8)
    with torch.no_grad():
        decoded = model(image)
    assert decoded.embedding.shape == (1, 16, *cells)
    assert decoded.logits.shape == (1, 15, *cells)


def test_file_gives_the_same_network(ocrnet: ImageSegmenter, ocrnet_file: Path,
                                     make_image: Callable[..., np.ndarray]) -> None:
    loaded = load_segmenter(str(ocrnet_file))
    assert loaded.label_set == ocrnet.label_set
    runtimes = [TorchRuntime(model, torch.device('cpu')) for model in (ocrnet, loaded)]
    expected, found = (runtime.infer(make_image()) for runtime in runtimes)
    assert expected.logits.std() > 0.1
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=0.05)
    state = loaded.state_dict()
    assert state.keys() == ocrnet.state_dict().keys()
    for name, value in ocrnet.state_dict().items():
        assert torch.equal(state[name], value.half().to(value.dtype)), name
    folder = ocrnet_file.parent
    again = TorchRuntime(load_segmenter(str(folder)), torch.device('cpu')).infer(make_image())
    assert torch.equal(again.logits, found.logits)


def test_plain_pipeline(ocrnet_file: Path, make_image: Callable[..., np.ndarray]) -> None:
    pipeline = create_pipeline('iss', SegmenterSettings(
        segmenter=str(ocrnet_file), device='cpu', input_size=64))
    found, = pipeline.step(Frame(make_image(96, 128), 5, 'camera'))
    assert found.labels.shape == (96, 128)
    assert (found.stamp, found.label_set.names[3]) == (5, 'lamp post')


def test_ditta_adapts_and_freezes_it(ocrnet_file: Path,
                                     make_image: Callable[..., np.ndarray]) -> None:
    settings = DittaSettings.model_validate({
        'segmenter': str(ocrnet_file), 'device': 'cpu', 'input_size': 64,
        'warmup': {'frames': 3}, 'prompts': {'min_reliability': 0.0, 'margin': 0},
        'adaptation': {'passes': 1, 'learning_rate': 0.01}})
    pipeline = create_pipeline('ditta', settings)
    image = make_image()
    wide = np.concatenate([image, image], 1)
    moving = [Frame(np.ascontiguousarray(wide[:, 2 * t:2 * t + 96]), t) for t in range(5)]
    plain = create_pipeline('iss', settings)
    segmentations = [pipeline.step(frame)[0] for frame in moving]
    assert pipeline.status.state is PipelineState.FROZEN
    assert pipeline.status.message == ''
    assert len(pipeline.history) == 3
    assert all(np.isfinite(list(losses.values())).all() for losses in pipeline.history)
    for frame, found in zip(moving[:3], segmentations, strict=False):
        np.testing.assert_array_equal(found.labels, plain.step(frame)[0].labels)
    assert any((found.confidence != plain.step(frame)[0].confidence).any()
               for frame, found in zip(moving[3:], segmentations[3:], strict=True))
