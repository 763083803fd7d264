"""Weights and states whose bytes or descriptions are wrong: loaded, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from vseg_ros.ditta.model import DittaModel
from vseg_ros.ditta.saved import load_adapted, save_adapted
from vseg_ros.labels import LabelSet
from vseg_ros.models.loading import load_segmenter, read_segmenter
from vseg_ros.models.nano_sam2 import read_nano_sam2
from vseg_ros.models.stored_weights import read_weights
from vseg_ros.time2general.saved import read_time2general
from vseg_ros.virst.nano import read_nano_virst
from vseg_ros.weights import bundled_path

SLOW = settings.get_profile('slow files')
Damaged = Callable[[st.DataObject, bytes], bytes]
Refusal = Callable[[Callable[[], object]], str]
READERS: dict[str, Callable[[Path], object]] = {
    'driving-b0': read_segmenter, 'driving-t2g': read_time2general, 'nano-sam2': read_nano_sam2,
    'virst-nano': read_nano_virst}
HEADER = 4096
"""Bytes at the beginning of a file that are damaged: what comes later are numbers."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner,
                                                                max_size=4), max_leaves=8)


@SLOW
@given(name=st.sampled_from(sorted(READERS)), data=st.data())
def test_damaged_file(tmp_path: Path, refusal: Refusal, damaged: Damaged, name: str,
                      data: st.DataObject) -> None:
    whole = bundled_path(name).read_bytes()
    path = tmp_path / 'damaged.safetensors'
    path.write_bytes(damaged(data, whole[:HEADER]) + whole[HEADER:])
    message = refusal(lambda: READERS[name](path))
    assert not message or str(path) in message


@settings(SLOW, max_examples=2 * SLOW.max_examples)
@given(name=st.sampled_from(sorted(READERS)), data=st.data())
def test_file_whose_description_is_wrong(tmp_path: Path, refusal: Refusal, name: str,
                                         data: st.DataObject) -> None:
    """The weights are whole, and one entry of the metadata is gone or says something else."""
    with safe_open(bundled_path(name), framework='pt') as stored:
        metadata = dict(stored.metadata())
    state = {'a': torch.zeros(2)} if data.draw(st.booleans()) else read_weights(
        bundled_path(name))[0]
    key = data.draw(st.sampled_from(sorted(metadata)))
    value = data.draw(st.none() | JSON.map(json.dumps) | st.text(max_size=20)
                      | st.sampled_from(('', '-1', '0', '99999999999', '1e400', '[[[]]]', 'b9')))
    metadata.pop(key)
    if value is not None:
        metadata[key] = value
    path = tmp_path / 'wrong.safetensors'
    save_file(state, path, metadata)
    message = refusal(lambda: READERS[name](path))
    assert not message or str(path) in message


@pytest.fixture(scope='module')
def adapted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, bytes]:
    """A segmenter, and what an adaptation of it keeps."""
    segmenter = load_segmenter('driving-b0')
    path = tmp_path_factory.mktemp('adapted') / 'a.safetensors'
    save_adapted(DittaModel(segmenter.decoder, 5), path, 'driving-b0', segmenter.label_set,
                 segmenter.decoder)
    return segmenter, path.read_bytes()


@SLOW
@given(data=st.data())
def test_damaged_adaptation(tmp_path: Path, refusal: Refusal, damaged: Damaged,
                            adapted: tuple[Any, bytes], data: st.DataObject) -> None:
    segmenter, whole = adapted
    path = tmp_path / 'damaged.safetensors'
    path.write_bytes(damaged(data, whole[:HEADER]) + whole[HEADER:])
    model = DittaModel(segmenter.decoder, 5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    labels: LabelSet = segmenter.label_set
    message = refusal(lambda: load_adapted(model, path, 'driving-b0', labels))
    if message:
        assert message.startswith(f'adapted_weights: {path}')
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@SLOW
@given(content=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, refusal: Refusal, content: bytes) -> None:
    path = tmp_path / 'any.safetensors'
    path.write_bytes(content)
    for reader in READERS.values():
        assert str(path) in refusal(lambda reader=reader: reader(path))  # type: ignore[misc]
