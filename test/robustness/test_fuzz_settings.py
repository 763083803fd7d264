"""Parameter files and overrides of any content: settings, or one line that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vseg_ros.settings import PIPELINE_SETTINGS, Settings, VirstSettings
from vseg_ros.settings_reading import dotted_fields, load_pipeline_settings, load_settings
from vseg_ros.training_settings import (
    SegmenterTrainingSettings,
    Time2GeneralTrainingSettings,
    TrackerTrainingSettings,
    VirstTrainingSettings,
)

VALUES = settings.get_profile('values')
Damaged = Callable[[st.DataObject, bytes], bytes]
Refusal = Callable[[Callable[[], object]], str]
MODELS: tuple[type[Settings], ...] = (
    *PIPELINE_SETTINGS.values(), VirstSettings, SegmenterTrainingSettings,
    Time2GeneralTrainingSettings, TrackerTrainingSettings, VirstTrainingSettings)
NAMES = sorted({name for model in MODELS for name, _ in dotted_fields(model)})
CONFIG = Path(__file__).parents[2] / 'config'

SCALARS = (st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
           | st.dates() | st.binary(max_size=8) | st.just(10**400) | st.just(-2**63))
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(NAMES) | st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=12)


def load(model: type[Settings], path: Path) -> None:
    """Read a file; whatever is accepted is finite and can be shown."""
    loaded = load_settings(model, path)
    for value in loaded.model_dump().values():
        assert not isinstance(value, float) or math.isfinite(value)


@VALUES
@given(model=st.sampled_from(MODELS), tree=TREES | st.fixed_dictionaries(
    {'/**': st.fixed_dictionaries({'ros__parameters': TREES})}) | st.dictionaries(
        st.sampled_from(NAMES), SCALARS, max_size=3).map(
            lambda values: {'/**': {'ros__parameters': values}}))
def test_any_yaml(tmp_path: Path, refusal: Refusal, model: type[Settings], tree: Any) -> None:
    path = tmp_path / 'any.yaml'
    path.write_text(yaml.safe_dump(tree, allow_unicode=True))
    refusal(lambda: load(model, path))


@VALUES
@given(model=st.sampled_from(MODELS), content=st.binary(max_size=300) | st.text(max_size=300).map(
    lambda text: text.encode('utf-8', 'surrogatepass')))
def test_any_bytes(tmp_path: Path, refusal: Refusal, model: type[Settings],
                   content: bytes) -> None:
    path = tmp_path / 'any.yaml'
    path.write_bytes(content)
    assert str(path) in refusal(lambda: load(model, path))


@VALUES
@given(file=st.sampled_from(sorted(CONFIG.glob('*.yaml'))), model=st.sampled_from(MODELS),
       data=st.data())
def test_damaged_shipped_file(tmp_path: Path, refusal: Refusal, damaged: Damaged, file: Path,
                              model: type[Settings], data: st.DataObject) -> None:
    path = tmp_path / 'damaged.yaml'
    path.write_bytes(damaged(data, file.read_bytes()))
    refusal(lambda: load(model, path))


@VALUES
@given(model=st.sampled_from(MODELS), name=st.sampled_from(NAMES) | st.text(max_size=30),
       value=SCALARS.map(str) | st.text(max_size=40) | st.sampled_from(
           ('[' * 50, '{' * 50, '&a [*a]', '!!python/object:os.system x', '1e999', '.nan',
            '0x' + 'f' * 300, '1_000', '=', '<<', '~', '!!binary x', '2001-02-03')))
def test_any_override(refusal: Refusal, model: type[Settings], name: str, value: str) -> None:
    refusal(lambda: load_settings(model, None, [f'{name}={value}']))
    refusal(lambda: load_pipeline_settings(list(PIPELINE_SETTINGS), None, [f'{name}={value}']))


@pytest.mark.parametrize('content', [
    '[' * 100, '{a: ' * 100, '/**: {ros__parameters: ' + '{a: ' * 30 + '1' + '}' * 32,
    'a: &a [' + 'x,' * 3_000 + ']', '/**: {ros__parameters: {seed: ' + '9' * 1_000 + '}}',
    '/**: {ros__parameters: {seed: .inf}}', '/**: {ros__parameters: {seed: 2001-02-03}}',
    '[' * 10_000, '{a: ' * 10_000, '- ' * 10_000, '/**: {ros__parameters: ' + '{a: ' * 3_000,
    '/**: &a {ros__parameters: *a}', '/**: {ros__parameters: {seed: ' + '9' * 10_000 + '}}',
    '/**: {ros__parameters: {seed: 2001-99-99}}'])
def test_absurd_file(tmp_path: Path, refusal: Refusal, content: str) -> None:
    path = tmp_path / 'absurd.yaml'
    path.write_text(content)
    assert refusal(lambda: load_settings(VirstSettings, path))
