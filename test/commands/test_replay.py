"""`vseg replay`: a warm-up given as a share of the bag."""

from __future__ import annotations

import pytest

from vseg_ros.commands.replay import resolve_warmup
from vseg_ros.io.source import open_source
from vseg_ros.settings import PIPELINE_SETTINGS, DittaSettings
from vseg_ros.settings_reading import settings_from_values


@pytest.mark.parametrize('name', ['ditta', 'tent', 'cotta', 'auxadapt'])
def test_a_share_of_the_bag_becomes_frames(name: str) -> None:
    settings = settings_from_values(PIPELINE_SETTINGS[name], {'warmup.ratio': 0.25})
    resolved = resolve_warmup(settings, open_source('street:1:9'))
    assert type(resolved) is type(settings)
    assert resolved.warmup.frames == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize('settings', [PIPELINE_SETTINGS['iss'](), PIPELINE_SETTINGS['refine'](),
                                      DittaSettings()])
def test_without_a_share_nothing_changes(settings: DittaSettings) -> None:
    assert resolve_warmup(settings, open_source('street:1:9')) is settings
