"""The parameter files that are shipped say what the settings say."""

from __future__ import annotations

from pathlib import Path

from vseg_ros.parameter_file import parameter_file_text
from vseg_ros.settings import DittaSettings, load_settings

CONFIG = Path(__file__).parent.parent / 'config'
INTRODUCTION = ('DiTTA. Every setting with its default; `vseg replay --params config/ditta.yaml` '
                'reads this file, and so does the node. Change one for a run with -p name=value.')
UNSET = ('adaptation.background',)
"""A camera does not wait, a bag does: node and replay have defaults of their own."""


def test_shipped_file_is_up_to_date() -> None:
    text = parameter_file_text(DittaSettings, INTRODUCTION, UNSET)
    assert (CONFIG / 'ditta.yaml').read_text() == text


def test_what_is_written_reads_back_as_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / 'all.yaml'
    file.write_text(parameter_file_text(DittaSettings, 'All.'))
    assert load_settings(DittaSettings, file) == DittaSettings()
