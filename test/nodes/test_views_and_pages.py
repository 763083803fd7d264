"""What lies beside the nodes: the page, RViz, Foxglove, the workflow, what must be installed."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from vseg_ros.frame import Segmentation
from vseg_ros.io.bag_file import BagFile
from vseg_ros.io.bag_source import BagSource
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.result_bag import ResultBag
from vseg_ros.io.source import open_source
from vseg_ros.labels import DRIVING, LabelSet
from vseg_ros.nodes.parameters import (
    DittaNodeSettings,
    NodeSettings,
    Time2GeneralNodeSettings,
    VirstNodeSettings,
    parameter_table,
)

ROOT = Path(__file__).parents[2]
VIEWS = [('ditta', 'vseg'), ('time2general', 'time2general'), ('virst', 'virst')]
"""Nodes, and the files that show them."""


def topics_of(node: str) -> set[str]:
    """Return what is shown of a node, and the camera."""
    names = ('overlay', 'mask') if node == 'virst' else ('overlay', 'segmentation', 'confidence')
    return {'/camera/image', *(f'/vseg/{node}/{name}' for name in names)}


@pytest.mark.parametrize(('node', 'model'), [('ditta', DittaNodeSettings),
                                             ('time2general', Time2GeneralNodeSettings),
                                             ('virst', VirstNodeSettings)])
def test_the_page_shows_the_parameters_there_are(node: str, model: type[NodeSettings]) -> None:
    page = (ROOT / f'docs/nodes/{node}.md').read_text()
    table = page.partition('<!-- parameters -->\n')[2].partition('\n<!-- /parameters -->')[0]
    assert table == parameter_table(model), (
        f'put parameter_table({model.__name__}) between the marks of docs/nodes/{node}.md')


@pytest.mark.parametrize('node', ['ditta', 'time2general'])
def test_the_page_names_the_ids_of_unlabelled_pixels(node: str) -> None:
    page = (ROOT / f'docs/nodes/{node}.md').read_text()
    row = next(line for line in page.splitlines() if line.startswith('| `~/segmentation`'))
    for classes, encoding in ((255, 'mono8'), (256, 'mono16')):
        unlabelled = LabelSet.from_names([str(number) for number in range(classes)]).ignore_id
        assert f'{unlabelled} (`{encoding}`)' in row


@pytest.mark.parametrize(('node', 'view'), VIEWS)
def test_rviz_subscribes_with_a_qos_that_is_served(node: str, view: str) -> None:
    config = yaml.safe_load((ROOT / f'rviz/{view}.rviz').read_text())
    topics = {each['Topic']['Value']: each['Topic']['Reliability Policy']
              for each in config['Visualization Manager']['Displays']}
    assert set(topics) == topics_of(node)
    assert topics.pop('/camera/image') == 'Best Effort'
    assert set(topics.values()) == {'Reliable'}


def leaves(layout: Any) -> Iterator[str]:
    if isinstance(layout, str):
        yield layout
    else:
        yield from leaves(layout['first'])
        yield from leaves(layout['second'])


@pytest.mark.parametrize(('node', 'view'), VIEWS)
def test_foxglove_places_every_panel_once(node: str, view: str) -> None:
    layout = json.loads((ROOT / f'foxglove/{view}.json').read_text())
    panels = layout['configById']
    assert sorted(leaves(layout['layout'])) == sorted(panels)
    images = {panel['imageMode']['imageTopic'] for panel in panels.values()
              if 'imageMode' in panel}
    assert images == topics_of(node)


@pytest.fixture(scope='module')
def result(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Topics of a bag that `vseg bag` and then `vseg replay` wrote."""
    folder = tmp_path_factory.mktemp('result')
    write_camera_bag(open_source('street:1:2'), folder / 'drive.mcap')
    drive = BagSource(folder / 'drive.mcap')
    with ResultBag.open(folder / 'out.mcap', 'ditta', drive) as bag:
        for item in drive:
            size = item.frame.size
            bag.write(item.frame, Segmentation(
                np.zeros(size, np.uint8), np.ones(size, np.float32), DRIVING, item.frame.stamp,
                item.frame.frame_id))
        bag.write_diagnostics(0, 'FROZEN', {})
    with BagFile(folder / 'out.mcap') as bag_file:
        return {connection.topic for connection in bag_file.connections}


OF_A_BAG = {'/camera/image/compressed', '/vseg/ditta/overlay/compressed',
            '/vseg/ditta/segmentation', '/vseg/ditta/confidence'}


def test_rviz_shows_a_result_bag(result: set[str]) -> None:
    config = yaml.safe_load((ROOT / 'rviz/bag.rviz').read_text())
    shown = {each['Topic']['Value'] for each in config['Visualization Manager']['Displays']}
    assert shown == OF_A_BAG
    assert shown <= result


def test_foxglove_shows_a_result_bag(result: set[str]) -> None:
    text = (ROOT / 'foxglove/bag.json').read_text()
    layout = json.loads(text)
    assert sorted(leaves(layout['layout'])) == sorted(layout['configById'])
    shown = set(re.findall('"(/[^"]*)"', text))
    assert shown == {*OF_A_BAG, '/diagnostics'}
    assert shown <= result


def test_foxglove_asks_what_the_service_takes() -> None:
    layout = json.loads((ROOT / 'foxglove/virst.json').read_text())
    panel = layout['configById']['CallService!query']
    assert panel['serviceName'] == '/vseg/query'
    request = (ROOT / 'srv/Query.srv').read_text().partition('---')[0].splitlines()
    fields = {line.split()[1] for line in request if line and not line.startswith('#')}
    assert set(json.loads(panel['requestPayload'])) <= fields


@pytest.mark.parametrize(('node', 'view'), VIEWS)
def test_foxglove_plots_fields_that_the_status_has(node: str, view: str) -> None:
    layout = (ROOT / f'foxglove/{view}.json').read_text()
    lines = (ROOT / 'msg/PipelineStatus.msg').read_text().splitlines()
    fields = {line.split()[1] for line in lines if line and not line.startswith('#')}
    status = f'/vseg/{node}/status.'
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


def imported(folder: str) -> set[str]:
    """Return the packages that the Python files below a folder import, without Python's own."""
    names: set[str] = set()
    for file in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {each.name.partition('.')[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).partition('.')[0])
    return names - sys.stdlib_module_names - {'vseg_ros'}


@pytest.mark.parametrize('folder', ['launch', 'vseg_ros/nodes'])
def test_the_package_names_what_is_imported(folder: str) -> None:
    named = {str(each.text) for each in ElementTree.parse(ROOT / 'package.xml').getroot()
             if each.tag in ('depend', 'exec_depend')}
    keys = {'cv2': 'python3-opencv', 'numpy': 'python3-numpy', 'pydantic': 'python3-pydantic'}
    found = imported(folder)
    assert 'launch' in found
    assert {keys.get(name, name) for name in found} <= named
