"""Settings from parameter files and overrides, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vseg_ros.errors import UserError
from vseg_ros.settings import PIPELINE_SETTINGS, DittaSettings, SegmenterSettings, Settings
from vseg_ros.settings_reading import (
    describe_range,
    dotted_fields,
    load_pipeline_settings,
    load_settings,
    read_values,
    settings_from_values,
)
from vseg_ros.training_settings import SegmenterTrainingSettings


def value_of(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split('.'):
        value = getattr(value, part)
    return value


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    file = tmp_path / 'ditta.yaml'
    file.write_text('/**:\n  ros__parameters:\n    input_size: 240\n    warmup:\n'
                    '      frames: 12\n    fusion.tau: 0.5\n')
    return file


@pytest.mark.parametrize('model', PIPELINE_SETTINGS.values())
def test_values_out_of_range_name_the_range(model: type[SegmenterSettings]) -> None:
    tried = 0
    for name, field in dotted_fields(model):
        allowed = describe_range(field)
        if field.annotation in (int, float):
            assert allowed, f'{name} has no range'
            for value in (-1e12, 1e12, 'many', None, float('nan')):
                with pytest.raises(UserError, match=f"^setting '{name}' is .*must be ") as caught:
                    settings_from_values(model, {name: value})
                assert str(caught.value).endswith(f'must be {allowed}')
            tried += 1
    assert tried >= 2


def test_ranges_read_as_words() -> None:
    words = {name: describe_range(field) for name, field in dotted_fields(DittaSettings)}
    assert words['fusion.tau'] == '0 to 1'
    assert words['adaptation.momentum'] == '0 to below 1'
    assert words['adaptation.learning_rate'] == 'above 0 to 1'
    assert words['segmenter'] == ''
    training = dict(dotted_fields(SegmenterTrainingSettings))
    assert describe_range(training['warmup_steps']) == 'at least 1'
    assert describe_range(training['learning_rate']) == 'above 0'


@pytest.mark.parametrize(('name', 'nearest'), [
    ('warmup.frame', 'warmup.frames'), ('fusion.tua', 'fusion.tau'), ('segmentor', 'segmenter')])
def test_unknown_name_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"no setting '{name}': did you mean '{nearest}'"):
        load_settings(DittaSettings, overrides=[f'{name}=1'])
    with pytest.raises(UserError, match=f"did you mean '{nearest}'"):
        load_pipeline_settings(['ditta'], overrides=[f'{name}=1'])


def test_a_name_like_none_lists_all() -> None:
    with pytest.raises(UserError, match=r"no setting 'xyzzy': known are device, .*segmenter"):
        load_settings(SegmenterSettings, overrides=['xyzzy=1'])


def test_file_then_overrides(parameters: Path) -> None:
    settings = load_settings(DittaSettings, parameters, ['warmup.frames=30', 'seed = 4'])
    assert (settings.input_size, settings.fusion.tau) == (240, 0.5)
    assert (settings.warmup.frames, settings.seed) == (30, 4)
    assert settings.warmup.seconds == DittaSettings().warmup.seconds
    assert load_settings(DittaSettings, parameters).warmup.frames == 12
    assert load_settings(DittaSettings) == DittaSettings()


@pytest.mark.parametrize(('text', 'name', 'value'), [
    ('adaptation.learning_rate=1e-3', 'adaptation.learning_rate', 1e-3),
    ('adaptation.background=true', 'adaptation.background', True),
    ('adapted_weights=', 'adapted_weights', ''),
    ('adapted_weights=a=b.safetensors', 'adapted_weights', 'a=b.safetensors'),
    ('segmenter=nvidia/segformer-b5', 'segmenter', 'nvidia/segformer-b5'),
    ('segmenter=[not: yaml', 'segmenter', '[not: yaml')])
def test_overrides_are_typed(text: str, name: str, value: Any) -> None:
    assert value_of(load_settings(DittaSettings, overrides=[text]), name) == value


def test_override_without_a_value_is_refused() -> None:
    with pytest.raises(UserError, match="-p 'seed' is not of the form name=value"):
        read_values(None, ['seed'])


@pytest.mark.parametrize('text', [
    '', '5', '- 1', 'a: 1', '/**:\n  ros__parameters: 3', '/**:\n  parameters: {seed: 1}',
    '/a:\n  ros__parameters: {seed: 1}\n/b:\n  ros__parameters: {seed: 2}'])
def test_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / 'p.yaml'
    file.write_text(text)
    with pytest.raises(UserError, match='must have the form "/\\*\\*: ros__parameters'):
        load_settings(DittaSettings, file)


@pytest.mark.parametrize('content', [b'a: [1', b'a: b: c', b'\xff\xfe\x00', b'\t- x'])
def test_malformed_yaml_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / 'p.yaml'
    file.write_bytes(content)
    with pytest.raises(UserError, match='is not valid YAML') as caught:
        load_settings(DittaSettings, file)
    assert '\n' not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='cannot be read: No such file'):
        load_settings(DittaSettings, tmp_path / 'none.yaml')
    with pytest.raises(UserError, match='cannot be read: Is a directory'):
        load_settings(DittaSettings, tmp_path)


def test_wrong_words_name_what_is_allowed() -> None:
    with pytest.raises(UserError, match=r"setting 'precision' is 'int4': .*'auto'.*'float16'"):
        load_settings(DittaSettings, overrides=['precision=int4'])
    with pytest.raises(UserError, match=r"setting 'segmenter' is 7: .*string"):
        load_settings(DittaSettings, overrides=['segmenter=7'])


def test_each_pipeline_takes_what_it_knows(parameters: Path) -> None:
    both = load_pipeline_settings(['iss', 'ditta'], parameters, ['device=cpu'])
    assert type(both['iss']) is SegmenterSettings
    assert both['iss'].input_size == both['ditta'].input_size == 240
    assert both['iss'].device == 'cpu'
    assert isinstance(both['ditta'], DittaSettings)
    assert both['ditta'].warmup.frames == 12
    assert set(load_pipeline_settings(['iss'], parameters)) == {'iss'}


def test_values_of_one_method_leave_the_others_alone() -> None:
    read = load_pipeline_settings(['ditta', 'tent', 'cotta', 'auxadapt', 'refine'], overrides=[
        'tent.learning_rate=0.5', 'adaptation.learning_rate=0.25', 'warmup.seconds=7',
        'warmup.max_frames=9', 'tracker=edgetam'])
    assert value_of(read['tent'], 'tent.learning_rate') == 0.5
    assert value_of(read['cotta'], 'cotta.learning_rate') == 7.5e-6
    assert value_of(read['ditta'], 'adaptation.learning_rate') == 0.25
    assert {value_of(read[name], 'warmup.seconds')
            for name in ('ditta', 'tent', 'cotta', 'auxadapt')} == {7}
    assert {value_of(read[name], 'tracker') for name in ('ditta', 'refine')} == {'edgetam'}
