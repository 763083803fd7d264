"""onnxruntime against eager torch, new decoders, the cache of graphs, and devices."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from transformers import SegformerForSemanticSegmentation

from vseg_ros.class_maps import ClassMap
from vseg_ros.errors import UserError
from vseg_ros.labels import LabelSet
from vseg_ros.models import onnx_runtime
from vseg_ros.models.class_groups import group_classes
from vseg_ros.models.onnx_runtime import OnnxRuntime
from vseg_ros.models.runtime import TorchRuntime, create_runtime, select_device, select_dtype
from vseg_ros.models.segformer import adapt_segformer
from vseg_ros.models.segmenter import ImageSegmenter

# the export is the one slow step; on a machine that is busy elsewhere it takes minutes
pytestmark = pytest.mark.timeout(900)

CPU = torch.device('cpu')
MakeSegformer = Callable[[], SegformerForSemanticSegmentation]
MakeImage = Callable[..., np.ndarray]


class Runtimes(NamedTuple):
    segmenter: ImageSegmenter
    onnx: OnnxRuntime
    eager: TorchRuntime
    cache: Path


@pytest.fixture(scope='module')
def runtimes(make_hf_segformer: MakeSegformer,
             tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtimes]:
    """Both runtimes of one segmenter; the export takes a while, so it is done once."""
    cache = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv('XDG_CACHE_HOME', str(cache))
        segmenter = adapt_segformer(make_hf_segformer(), LabelSet.from_names(list('abcde'))).eval()
        onnx = create_runtime(segmenter, 'cpu', 'auto')
        assert isinstance(onnx, OnnxRuntime)
        yield Runtimes(segmenter, onnx, TorchRuntime(copy.deepcopy(segmenter), CPU), cache)


@pytest.fixture
def restored(runtimes: Runtimes) -> Iterator[Runtimes]:
    """Hand the runtimes to a test that changes their decoder."""
    yield runtimes
    for runtime in (runtimes.onnx, runtimes.eager):
        runtime.set_decoder(runtimes.segmenter.decoder)


def assert_same(runtimes: Runtimes, image: np.ndarray) -> None:
    found, features = runtimes.onnx.infer_with_features(image)
    expected, expected_features = runtimes.eager.infer_with_features(image)
    assert expected.logits.std() > 0.05
    for ours, theirs in zip((*found, *features), (*expected, *expected_features), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(runtimes.onnx.infer(image), found, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize('size', [(32, 32), (64, 96), (96, 64), (128, 192), (160, 224)])
def test_onnx_equals_eager(runtimes: Runtimes, make_image: MakeImage,
                           size: tuple[int, int]) -> None:
    assert_same(runtimes, make_image(*size))


def test_read_only_and_strided_images(runtimes: Runtimes, make_image: MakeImage) -> None:
    image = make_image(64, 192)[:, ::2]
    image.flags.writeable = False
    assert not image.flags.c_contiguous
    assert_same(runtimes, image)


def test_set_decoder_changes_both_alike(restored: Runtimes, make_image: MakeImage) -> None:
    image = make_image()
    before = restored.onnx.infer(image).logits
    adapted = copy.deepcopy(restored.segmenter.decoder)
    torch.manual_seed(5)
    with torch.no_grad():
        for value in [*adapted.parameters(), adapted.head.batch_norm.running_mean]:
            value.add_(0.1 * torch.randn_like(value))
    for runtime in (restored.onnx, restored.eager):
        runtime.set_decoder(adapted)
    assert (restored.onnx.infer(image).logits - before).abs().max() > 0.05
    assert_same(restored, image)
    kept = restored.onnx.infer(image).logits
    with torch.no_grad():
        for value in adapted.parameters():
            value.zero_()
    assert torch.equal(restored.onnx.infer(image).logits, kept)
    assert_same(restored, image)


def test_grouped_classes_run_in_the_graph_of_the_plain_ones(
        restored: Runtimes, make_image: MakeImage) -> None:
    image = make_image()
    found = ClassMap('found', 'own', 'own', LabelSet.from_names(('first', 'never', 'last')),
                     {'first': ('a', 'b', 'c'), 'last': ('e',)}, {})
    grouped = group_classes(copy.deepcopy(restored.segmenter), found)
    graphs = set((restored.cache / 'vseg_ros').iterdir())
    runtime = create_runtime(grouped, 'cpu', 'auto')
    assert isinstance(runtime, OnnxRuntime)
    assert set((restored.cache / 'vseg_ros').iterdir()) == graphs
    eager = TorchRuntime(copy.deepcopy(grouped), CPU)
    for decoder in (grouped.decoder, copy.deepcopy(grouped.decoder), restored.segmenter.decoder):
        runtime.set_decoder(decoder)
        eager.set_decoder(decoder)
        assert_same(restored._replace(onnx=runtime, eager=eager), image)
        with torch.no_grad():
            for value in decoder.parameters():
                value.mul_(1.1)
    plain = restored.segmenter
    other = copy.deepcopy(plain)
    other.decoder.head.classifier = torch.nn.Conv2d(16, 4, 1)
    assert onnx_runtime._digest(grouped) == onnx_runtime._digest(plain)
    assert onnx_runtime._digest(other) != onnx_runtime._digest(plain)


def test_second_start_takes_the_graph_from_the_cache(
        runtimes: Runtimes, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, = (runtimes.cache / 'vseg_ros').iterdir()
    assert graph.suffix == '.onnx'

    def refuse(segmenter: ImageSegmenter, path: Path) -> None:
        raise AssertionError('exported again')

    monkeypatch.setattr(onnx_runtime, '_export', refuse)
    again = OnnxRuntime(runtimes.segmenter)
    image = make_image()
    assert torch.equal(again.infer(image).logits, runtimes.onnx.infer(image).logits)
    other = copy.deepcopy(runtimes.segmenter)
    next(other.backbone.parameters()).data.add_(0.01)
    with pytest.raises(AssertionError, match='exported again'):
        OnnxRuntime(other)


def test_cache_that_cannot_be_made(runtimes: Runtimes, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """A robot's file system may be read-only: the graph then lies in a temporary folder."""
    blocked = tmp_path / 'file'
    blocked.touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(blocked))
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    graph, = (runtimes.cache / 'vseg_ros').iterdir()
    monkeypatch.setattr(onnx_runtime, '_export',
                        lambda segmenter, path: path.write_bytes(graph.read_bytes()))
    OnnxRuntime(runtimes.segmenter)
    assert [path.suffix for path in tmp_path.glob('vseg_ros-*/*')] == ['.onnx']


def on_a_full_disk(segmenter: ImageSegmenter, path: Path) -> None:
    with open('/dev/full', 'w') as device:
        device.write('x')


def with_an_exporter_of_another_version(segmenter: ImageSegmenter, path: Path) -> None:
    raise AttributeError('no such operator\nand a page of advice')


@pytest.mark.parametrize(('export', 'reason'), [
    (on_a_full_disk, 'the disk is full while writing'),
    (with_an_exporter_of_another_version, r'\(no such operator\): torch runs it')])
def test_where_no_graph_can_be_made_torch_runs_the_network(
        export: Callable[[ImageSegmenter, Path], None], reason: str, runtimes: Runtimes,
        make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(onnx_runtime, '_export', export)
    with caplog.at_level(logging.WARNING):
        runtime = create_runtime(copy.deepcopy(runtimes.segmenter), 'cpu', 'auto')
    assert isinstance(runtime, TorchRuntime)
    assert re.search(reason, caplog.messages[-1])
    image = make_image()
    assert torch.equal(runtime.infer(image).logits, runtimes.eager.infer(image).logits)
    assert not list((tmp_path / 'vseg_ros').iterdir())


def test_other_networks_and_formats_run_eagerly(ocrnet: ImageSegmenter,
                                                make_hf_segformer: MakeSegformer,
                                                make_image: MakeImage) -> None:
    assert isinstance(create_runtime(ocrnet, 'cpu', 'auto'), TorchRuntime)
    segmenter = adapt_segformer(make_hf_segformer(), LabelSet.from_names(list('abcde'))).eval()
    runtime = create_runtime(segmenter, 'cpu', 'bfloat16')
    assert isinstance(runtime, TorchRuntime)
    exact = TorchRuntime(segmenter, CPU)
    image = make_image()
    found, features = runtime.infer_with_features(image)
    expected = exact.infer(image).logits
    assert {value.dtype for value in (*found, *features)} == {torch.float32}
    assert 0 < (found.logits - expected).abs().max() < 0.1 * expected.abs().max()


def test_eager_decoder_that_cannot_fold_is_copied(ocrnet: ImageSegmenter,
                                                  make_image: MakeImage) -> None:
    runtime = TorchRuntime(ocrnet, CPU)
    image = make_image()
    before = runtime.infer(image).logits
    with torch.no_grad():
        for value in ocrnet.decoder.parameters():
            value.zero_()
    assert torch.equal(runtime.infer(image).logits, before)
    runtime.set_decoder(ocrnet.decoder)
    assert not torch.equal(runtime.infer(image).logits, before)


@pytest.mark.parametrize('name', ['gpu', '', 'meta', 'mps', 'cuda:-1', 'cuda:99', 'cpu,cuda'])
def test_unknown_device(name: str) -> None:
    with pytest.raises(UserError, match=r'^device .*: use auto') as caught:
        select_device(name)
    assert '\n' not in str(caught.value)


def test_device_and_number_format() -> None:
    assert select_device('cpu') == CPU
    assert select_device('auto').type in ('cpu', 'cuda')
    assert select_dtype('auto', CPU) == torch.float32
    assert select_dtype('auto', torch.device('cuda')) == torch.bfloat16
    assert select_dtype('float16', CPU) == torch.float16
