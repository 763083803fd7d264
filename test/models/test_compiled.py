"""The segmenter compiled by torch against the same one eager; machines that cannot compile."""

from __future__ import annotations

import copy
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vseg_ros.labels import LabelSet
from vseg_ros.models.compiled import CompiledFunction
from vseg_ros.models.runtime import TorchRuntime, create_runtime
from vseg_ros.models.segformer import adapt_segformer
from vseg_ros.models.segmenter import ImageSegmenter

pytestmark = [
    # a compiler is slow, the more so on a machine that is busy elsewhere
    pytest.mark.timeout(900),
    # torch's compiler imports what torch itself calls outdated
    pytest.mark.filterwarnings('ignore:.torch.jit.script_method:DeprecationWarning'),
    pytest.mark.filterwarnings('ignore:Guards may run slower:RuntimeWarning')]  # on Python 3.13.0

CPU = torch.device('cpu')
MakeImage = Callable[..., np.ndarray]
HEADERS = Path(sysconfig.get_path('include'))
CAN_COMPILE = bool(shutil.which('g++')) and (HEADERS / 'Python.h').exists()


@pytest.fixture(scope='module')
def segmenter(make_hf_segformer: Callable[[], nn.Module]) -> ImageSegmenter:
    return adapt_segformer(make_hf_segformer(), LabelSet.from_names(list('abcde'))).eval()


@pytest.fixture(scope='module')
def compiled(segmenter: ImageSegmenter) -> Iterator[TorchRuntime]:
    """Trace what would be compiled, and run it step by step: to compile it takes a minute."""
    torch.compiler.reset()
    with pytest.MonkeyPatch.context() as monkeypatch:
        trace = partial(torch.compile, backend='aot_eager', dynamic=False)
        monkeypatch.setattr(torch, 'compile', lambda function, **_: trace(function))
        runtime = create_runtime(copy.deepcopy(segmenter), 'cpu', 'float32', True)
    assert isinstance(runtime, TorchRuntime)
    yield runtime
    torch.compiler.reset()


def assert_same(runtime: TorchRuntime, other: TorchRuntime, image: np.ndarray) -> None:
    found, features = runtime.infer_with_features(image)
    expected, expected_features = other.infer_with_features(image)
    for ours, theirs in zip((*found, *features), (*expected, *expected_features), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def places_of(runtime: TorchRuntime) -> list[int]:
    """Where the decoder's weights are in memory."""
    return [each.data_ptr() for each in runtime._decoder.state_dict().values()]


def test_compiled_equals_eager(segmenter: ImageSegmenter, compiled: TorchRuntime,
                               make_image: MakeImage) -> None:
    eager = TorchRuntime(copy.deepcopy(segmenter), CPU)
    for size in ((32, 64), (64, 64)):
        assert_same(compiled, eager, make_image(*size))
    assert compiled._compiled is not None
    assert not compiled._compiled.refused


def test_an_adapted_decoder_is_taken_without_compiling_again(
        segmenter: ImageSegmenter, compiled: TorchRuntime, make_image: MakeImage) -> None:
    image = make_image(32, 64)
    before = compiled.infer(image).logits
    adapted = copy.deepcopy(segmenter.decoder)
    with torch.no_grad():
        for each in adapted.parameters():
            each.mul_(1.1)
    eager = TorchRuntime(copy.deepcopy(segmenter), CPU)
    eager.set_decoder(adapted)
    places = places_of(compiled)
    with torch.compiler.set_stance('fail_on_recompile'):
        compiled.set_decoder(adapted)
        assert places_of(compiled) == places, 'a recorded graph reads the weights where they were'
        assert_same(compiled, eager, image)
        compiled.set_decoder(segmenter.decoder)
        assert torch.equal(compiled.infer(image).logits, before)
    assert compiled._compiled is not None
    assert not compiled._compiled.refused


def test_what_was_returned_stays_as_it_is(compiled: TorchRuntime, make_image: MakeImage) -> None:
    first, second = make_image(32, 64), 255 - make_image(32, 64)
    found = compiled.infer(first).logits
    kept = found.clone()
    compiled.infer(second)
    assert torch.equal(found, kept)


@pytest.mark.skipif(not CAN_COMPILE,
                    reason="there is no C++ compiler, or Python's headers are not there")
def test_a_compiled_function_gives_what_it_gives_plainly() -> None:
    def plain(argument: Tensor) -> tuple[Tensor, Tensor]:
        return argument.relu() * 2, argument.sum(0)

    function = CompiledFunction(plain)
    for size in (4, 6):
        argument = torch.randn(3, size)
        for ours, theirs in zip(function(argument), plain(argument), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert not function.refused


def test_without_a_compiler_the_function_runs_as_it_is(
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    tried = []

    def broken(_function: object, **_: object) -> Callable[[Tensor], Tensor]:
        def fail(argument: Tensor) -> Tensor:
            tried.append(argument)
            raise RuntimeError('no compiler found\nwith a long story')
        return fail

    monkeypatch.setattr(torch, 'compile', broken)
    twice = CompiledFunction(lambda x: (2 * x,))
    for value in (1.0, 3.0):
        assert torch.equal(twice(torch.tensor(value))[0], torch.tensor(2 * value))
    assert twice.refused
    assert len(tried) == 1
    assert [record.message for record in caplog.records] == [
        'the network is not compiled (no compiler found): it runs as it is']


def test_memory_that_runs_out_is_not_taken_for_a_missing_compiler(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_function: object, **_: object) -> Callable[[Tensor], Tensor]:
        def fail(_argument: Tensor) -> Tensor:
            raise torch.OutOfMemoryError('full')
        return fail

    monkeypatch.setattr(torch, 'compile', full)
    function = CompiledFunction(lambda x: (x,))
    with pytest.raises(torch.OutOfMemoryError):
        function(torch.tensor(1.0))
    assert not function.refused
