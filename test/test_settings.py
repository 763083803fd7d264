"""Settings: defaults within their ranges, copies, warm-ups, training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from vseg_ros.errors import UserError
from vseg_ros.settings import PIPELINE_SETTINGS, DittaSettings, SegmenterSettings, Settings
from vseg_ros.settings_reading import (
    dotted_fields,
    load_settings,
    settings_from_values,
)
from vseg_ros.training_settings import SegmenterTrainingSettings

CONFIG = Path(__file__).parent.parent / 'config'
STAGE = {'steps': 1, 'batch': 1, 'height': 32, 'width': 32}


def value_of(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split('.'):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize('model', PIPELINE_SETTINGS.values())
def test_every_default_is_within_its_range_and_described(model: type[SegmenterSettings]) -> None:
    defaults = model()
    names = [name for name, _ in dotted_fields(model)]
    assert len(names) == len(set(names))
    for name, field in dotted_fields(model):
        assert field.description, name
        again = settings_from_values(model, {name: value_of(defaults, name)})
        assert again == defaults


def test_settings_cannot_be_changed_but_copied() -> None:
    settings = DittaSettings()
    with pytest.raises(ValidationError, match='frozen'):
        settings.seed = 3  # type: ignore[misc]
    assert settings.with_warmup_frames(9).warmup.frames == 9
    assert settings.warmup.frames == 0


@pytest.mark.parametrize(('name', 'warms_up'), [
    ('tent', True), ('cotta', True), ('auxadapt', True), ('refine', False), ('iss', False)])
def test_a_baseline_watches_as_long_as_it_is_told(name: str, warms_up: bool) -> None:
    settings = PIPELINE_SETTINGS[name]()
    for keep_all in (False, True):
        longer = settings.with_warmup_frames(40, keep_all)
        assert type(longer) is type(settings)
        assert (longer == settings) == (not warms_up)
        if warms_up:
            assert value_of(longer, 'warmup.frames') == 40


def test_training_settings() -> None:
    settings = settings_from_values(
        SegmenterTrainingSettings, {'stages': [STAGE, {**STAGE, 'steps': 4}]})
    assert settings.steps == 5
    shipped = load_settings(SegmenterTrainingSettings, CONFIG / 'train_iss.yaml')
    assert shipped.steps > 100


@pytest.mark.parametrize(('values', 'message'), [
    ({}, "'stages'.*required"),
    ({'stages': []}, "'stages' is \\[\\]: .*at least 1"),
    ({'stages': [{**STAGE, 'steps': 0}]}, "'stages.steps' is 0: .*greater than or equal to 1"),
    ({'stages': [{**STAGE, 'stride': 0}]}, "'stages.stride'"),
    ({'stages': [{**STAGE, 'scale_min': 3.0}]}, 'scale_min 3.0 is above scale_max 1.5'),
    ({'stages': [STAGE], 'variant': 'b6'}, "'variant' is 'b6'"),
    ({'stages': [STAGE], 'device': 'cuda:1'}, "'device' is 'cuda:1': .*'auto' or 'cpu'")])
def test_training_settings_refuse_nonsense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        settings_from_values(SegmenterTrainingSettings, values)
    assert '\n' not in str(caught.value)
