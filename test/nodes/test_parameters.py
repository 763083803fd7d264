"""The parameters of the nodes as settings: one model, one rule, one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from vseg_ros.errors import UserError
from vseg_ros.nodes.parameters import (
    DittaNodeSettings,
    Effect,
    NodeSettings,
    Time2GeneralNodeSettings,
    VirstNodeSettings,
    effect_of,
    parameter_table,
)
from vseg_ros.settings import DittaSettings, Settings, Time2GeneralSettings, VirstSettings
from vseg_ros.settings_reading import dotted_fields, load_settings, settings_from_values

CONFIG = Path(__file__).parents[2] / 'config'


@pytest.mark.parametrize(('node', 'pipeline'), [
    (DittaNodeSettings, DittaSettings), (Time2GeneralNodeSettings, Time2GeneralSettings),
    (VirstNodeSettings, VirstSettings)])
def test_node_has_every_setting_of_its_pipeline_and_of_all_nodes(
        node: type[NodeSettings], pipeline: type[Settings]) -> None:
    names = {name for name, _ in dotted_fields(node)}
    assert names >= {name for name, _ in dotted_fields(pipeline)}
    assert names >= {name for name, _ in dotted_fields(NodeSettings)}
    assert all(field.description for _, field in dotted_fields(node))


def test_parameter_file_of_the_pipeline_serves_the_node() -> None:
    settings = load_settings(DittaNodeSettings, CONFIG / 'ditta.yaml')
    offline = load_settings(DittaSettings, CONFIG / 'ditta.yaml')
    assert {name: getattr(settings, name) for name in ('segmenter', 'warmup', 'fusion')} == {
        name: getattr(offline, name) for name in ('segmenter', 'warmup', 'fusion')}
    assert load_settings(Time2GeneralNodeSettings, CONFIG / 'time2general.yaml') == (
        Time2GeneralNodeSettings())
    assert load_settings(VirstNodeSettings, CONFIG / 'virst.yaml') == VirstNodeSettings()


def test_a_camera_does_not_wait_for_the_adaptation() -> None:
    assert DittaNodeSettings().adaptation.background
    assert settings_from_values(
        DittaNodeSettings, {'adaptation.passes': 2}).adaptation.background
    assert not settings_from_values(
        DittaNodeSettings, {'adaptation.background': False}).adaptation.background


def test_reason_of_a_bad_value_names_its_range() -> None:
    with pytest.raises(UserError, match=r"'image_timeout' is 0: must be 0.5 to 3600"):
        settings_from_values(DittaNodeSettings, {'image_timeout': 0})
    with pytest.raises(UserError, match="did you mean 'image_transport'"):
        settings_from_values(DittaNodeSettings, {'image_transprot': 'raw'})


@pytest.mark.parametrize(('name', 'effect'), [
    ('segmenter', Effect.CONFIGURE), ('device', Effect.CONFIGURE), ('tracker', Effect.CONFIGURE),
    ('adapted_weights', Effect.CONFIGURE), ('image_transport', Effect.CONFIGURE),
    ('a_name_yet_to_come', Effect.CONFIGURE), ('warmup.frames', Effect.ADAPTATION),
    ('adaptation.learning_rate', Effect.ADAPTATION), ('save_adapted_to', Effect.AT_ONCE)])
def test_when_a_change_counts(name: str, effect: Effect) -> None:
    assert effect_of(DittaNodeSettings, name) is effect


def test_node_that_adapts_nothing_takes_no_parameter_for_the_next_adaptation() -> None:
    effects = {name: effect_of(Time2GeneralNodeSettings, name)
               for name, _ in dotted_fields(Time2GeneralNodeSettings)}
    at_once = {name for name, effect in effects.items() if effect is Effect.AT_ONCE}
    assert at_once == {'autostart', 'image_timeout', 'status_period'}
    assert Effect.ADAPTATION not in effects.values()


def test_table_has_a_line_a_parameter() -> None:
    table = parameter_table(DittaNodeSettings).splitlines()
    assert len(table) == 2 + len(list(dotted_fields(DittaNodeSettings)))
    assert len({line.replace('\\|', '').count('|') for line in table}) == 1
    assert ('| `adaptation.learning_rate` | double | `0.001` | above 0 to 1 | next adaptation | '
            'Learning rate of AdamW. |') in table
    assert any(line.startswith('| `image_transport` | string | `raw` | raw, compressed | '
                               'on configure |') for line in table)
    assert any(line.startswith('| `adaptation.background` | bool | `true` |') for line in table)
