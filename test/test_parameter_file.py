"""The parameter files that are shipped say what the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from vseg_ros.parameter_file import parameter_file_text
from vseg_ros.settings import DittaSettings, Settings, Time2GeneralSettings, VirstSettings
from vseg_ros.settings_reading import load_settings

CONFIG = Path(__file__).parent.parent / 'config'
INTRODUCTION = ('{}. Every setting with its default; `vseg {} --params config/{}.yaml` '
                'reads this file, and so does the node. Change one for a run with -p name=value.')
UNSET = ('adaptation.background',)
"""A camera does not wait, a bag does: node and replay have defaults of their own."""


@pytest.mark.parametrize(('model', 'name', 'command', 'unset'), [
    (DittaSettings, 'DiTTA', 'replay', UNSET),
    (Time2GeneralSettings, 'Time2General', 'replay --pipeline time2general', ()),
    (VirstSettings, 'VIRST', 'query', ())])
def test_shipped_file_is_up_to_date(model: type[Settings], name: str, command: str,
                                    unset: tuple[str, ...]) -> None:
    introduction = INTRODUCTION.format(name, command, name.lower())
    text = parameter_file_text(model, introduction, unset)
    assert (CONFIG / f'{name.lower()}.yaml').read_text() == text


@pytest.mark.parametrize('model', [DittaSettings, Time2GeneralSettings, VirstSettings])
def test_what_is_written_reads_back_as_the_defaults(model: type[Settings],
                                                    tmp_path: Path) -> None:
    file = tmp_path / 'all.yaml'
    file.write_text(parameter_file_text(model, 'All.'))
    assert load_settings(model, file) == model()
