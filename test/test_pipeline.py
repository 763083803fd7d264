"""The factory of pipelines and the names it knows."""

from __future__ import annotations

import pytest

from vseg_ros.baselines.factory import create_baseline
from vseg_ros.errors import UserError
from vseg_ros.pipeline import (
    PipelineState,
    PipelineStatus,
    create_pipeline,
    require_pipeline,
    split_names,
)
from vseg_ros.settings import PIPELINE_SETTINGS, DittaSettings, SegmenterSettings


def test_names() -> None:
    assert split_names('iss, ditta') == ['iss', 'ditta']
    assert split_names('ditta,') == ['ditta']
    assert require_pipeline('iss') == 'iss'


@pytest.mark.parametrize('text', ['iss,dita', 'ISS'])
def test_unknown_name_lists_those_there_are(text: str) -> None:
    with pytest.raises(UserError, match=r'no pipeline .*: there are iss, ditta'):
        split_names(text)


@pytest.mark.parametrize('text', ['', ' , '])
def test_no_name_at_all(text: str) -> None:
    with pytest.raises(UserError, match='no pipeline named: there are iss, ditta'):
        split_names(text)


def test_unknown_pipeline_and_settings_of_another() -> None:
    with pytest.raises(UserError, match="no pipeline 'x'"):
        create_pipeline('x', SegmenterSettings())
    with pytest.raises(TypeError, match='SegmenterSettings does not configure ditta'):
        create_pipeline('ditta', SegmenterSettings())


@pytest.mark.parametrize('name', ['tent', 'cotta', 'auxadapt', 'refine'])
def test_baselines_are_pipelines(name: str) -> None:
    with pytest.raises(UserError, match="no weights named 'no-such'"):
        create_pipeline(name, PIPELINE_SETTINGS[name].model_validate({'segmenter': 'no-such'}))
    with pytest.raises(TypeError, match=f'SegmenterSettings does not configure {name}'):
        create_pipeline(name, SegmenterSettings())
    with pytest.raises(TypeError, match='DittaSettings does not configure a baseline'):
        create_baseline(DittaSettings())


def test_weights_that_are_not_there() -> None:
    with pytest.raises(UserError, match="no weights named 'no-such'"):
        create_pipeline('iss', SegmenterSettings(segmenter='no-such'))


def test_status_is_a_word_and_complete_by_default() -> None:
    status = PipelineStatus(PipelineState.RUNNING)
    assert (status.state, status.progress, status.message) == ('RUNNING', 1.0, '')
