"""The cache of exported graphs: what is there is used, what is damaged is made anew."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from vseg_ros.errors import UserError
from vseg_ros.models.onnx_graphs import cached_session

Export = Callable[[Path], None]


def write_graph(path: Path) -> None:
    """Write a graph that doubles what it is given."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in 'xy']
    graph = helper.make_graph([helper.make_node('Add', ['x', 'x'], ['y'])], 'double', value[:1],
                              value[1:])
    onnx.save(helper.make_model(graph, ir_version=9,
                                opset_imports=[helper.make_opsetid('', 20)]), path)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a graph in a cache that is empty."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path / 'vseg_ros' / 'double.onnx'


def doubled(export: Export) -> list[float]:
    session = cached_session('double', export)
    return list(session.run(None, {'x': np.array([1, 2], np.float32)})[0])


def no_export(path: Path) -> None:
    raise AssertionError('it is there already')


def test_a_graph_is_exported_once(cached: Path) -> None:
    assert doubled(write_graph) == [2, 4]
    assert doubled(no_export) == [2, 4]
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]


@pytest.mark.parametrize('kept', [0.0, 0.4, 0.95])
def test_a_graph_that_is_cut_short_is_made_anew(cached: Path, kept: float,
                                                caplog: pytest.LogCaptureFixture) -> None:
    doubled(write_graph)
    whole = cached.read_bytes()
    cached.write_bytes(whole[:int(kept * len(whole))])
    with caplog.at_level(logging.WARNING):
        assert doubled(write_graph) == [2, 4]
    assert f'{cached} cannot be read' in caplog.text
    assert cached.read_bytes() == whole


def test_a_cache_on_a_full_disk_is_named(cached: Path) -> None:
    def full(path: Path) -> None:
        path.write_bytes(b'half')
        with open('/dev/full', 'w') as device:
            device.write('x')
    with pytest.raises(UserError, match=f'the disk is full while writing {cached}'):
        doubled(full)
    assert list(cached.parent.iterdir()) == []
