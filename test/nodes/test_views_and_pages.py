"""What people look at beside the nodes: the page, RViz, Foxglove, the workflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vseg_ros.nodes.parameters import DittaNodeSettings, parameter_table

ROOT = Path(__file__).parents[2]
TOPICS = {'/camera/image', *(f'/vseg/ditta/{name}'
                             for name in ('overlay', 'segmentation', 'confidence'))}


def test_the_page_shows_the_parameters_there_are() -> None:
    page = (ROOT / 'docs/nodes/ditta.md').read_text()
    table = page.partition('<!-- parameters -->\n')[2].partition('\n<!-- /parameters -->')[0]
    assert table == parameter_table(DittaNodeSettings), (
        'put parameter_table(DittaNodeSettings) between the marks of docs/nodes/ditta.md')


def test_rviz_subscribes_with_a_qos_that_is_served() -> None:
    config = yaml.safe_load((ROOT / 'rviz/vseg.rviz').read_text())
    topics = {each['Topic']['Value']: each['Topic']['Reliability Policy']
              for each in config['Visualization Manager']['Displays']}
    assert set(topics) == TOPICS
    assert topics.pop('/camera/image') == 'Best Effort'
    assert set(topics.values()) == {'Reliable'}


def leaves(layout: Any) -> Iterator[str]:
    if isinstance(layout, str):
        yield layout
    else:
        yield from leaves(layout['first'])
        yield from leaves(layout['second'])


def test_foxglove_places_every_panel_once() -> None:
    layout = json.loads((ROOT / 'foxglove/vseg.json').read_text())
    panels = layout['configById']
    assert sorted(leaves(layout['layout'])) == sorted(panels)
    images = {panel['imageMode']['imageTopic'] for panel in panels.values()
              if 'imageMode' in panel}
    assert images == TOPICS


def test_foxglove_plots_fields_that_the_status_has() -> None:
    layout = (ROOT / 'foxglove/vseg.json').read_text()
    lines = (ROOT / 'msg/PipelineStatus.msg').read_text().splitlines()
    fields = {line.split()[1] for line in lines if line and not line.startswith('#')}
    status = '/vseg/ditta/status.'
    plotted = {part.partition('"')[0] for part in layout.split(status)[1:]}
    assert plotted
    assert plotted <= fields


def test_the_workflow_builds_and_tests_on_both_distributions() -> None:
    workflow = yaml.safe_load((ROOT / '.github/workflows/ros.yml').read_text())
    job = workflow['jobs']['colcon']
    assert job['strategy']['matrix']['distribution'] == ['humble', 'jazzy']
    commands = '\n'.join(step.get('run', '') for step in job['steps'])
    assert 'colcon build' in commands
    assert 'colcon test ' in commands
