"""`vseg evaluate` in several weathers and at several frame rates."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from vseg_ros.io.street import SyntheticStreet

Vseg = Callable[..., subprocess.CompletedProcess[str]]


FRAMES = 12


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder of small images of a street, with their labels."""
    folder = tmp_path_factory.mktemp('drive')
    for name in ('images', 'labels'):
        (folder / name).mkdir()
    for index, item in enumerate(SyntheticStreet(1, FRAMES, size=(120, 160))):
        cv2.imwrite(str(folder / 'images' / f'{index}.png'), item.frame.image[..., ::-1])
        cv2.imwrite(str(folder / 'labels' / f'{index}.png'), item.labels)
    return folder


def evaluate(vseg: Vseg, drive: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # In bfloat16 the segmenter runs without a graph that would first have to be exported.
    return vseg('evaluate', str(drive / 'images'), '--labels', str(drive / 'labels'),
                '--pipelines', 'iss', '-p', 'input_size=96', '-p', 'precision=bfloat16',
                *arguments)


def test_every_combination_is_a_run(vseg: Vseg, drive: Path, tmp_path: Path) -> None:
    result = evaluate(vseg, drive, '--weather', 'clean,fog:3,spatter', '--stride', '1,2',
                      '--json', 's.json', '--report', 'r.html')
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / 's.json').read_text())
    assert (scores['weather'], scores['stride'], scores['frames']) == ('clean', 1, FRAMES)
    assert [(run['weather'], run['stride'], run['frames']) for run in scores['runs']] == [
        ('clean', 1, 12), ('fog:3', 1, 12), ('spatter:3', 1, 12),
        ('clean', 2, 6), ('fog:3', 2, 6), ('spatter:3', 2, 6)]
    reached = [run['pipelines']['iss']['miou'] for run in scores['runs']]
    assert reached[1] < reached[0]
    assert reached[2] < reached[0]
    assert len(set(reached)) == 6
    assert scores['pipelines'] == scores['runs'][0]['pipelines']
    # A table of 80 characters cuts no word short.
    assert '\N{HORIZONTAL ELLIPSIS}' not in result.stdout
    for word in ('fog:3', 'spatter:3', 'clean', 'stride', f'{100 * reached[2]:.2f}'):
        assert word in result.stdout
    assert result.stdout.count('mean over') == 2
    assert 'Scores by weather and stride' in (tmp_path / 'r.html').read_text()


def test_without_them_everything_is_as_before(vseg: Vseg, drive: Path, tmp_path: Path) -> None:
    result = evaluate(vseg, drive, '--json', 's.json', '--report', 'r.html')
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / 's.json').read_text())
    assert list(scores) == ['source', 'frames', 'warmup', 'seed', 'pipelines']
    assert 'weather' not in result.stdout
    assert 'stride' not in result.stdout
    page = (tmp_path / 'r.html').read_text()
    assert '<h2' not in page
    assert 'Scores by weather' not in page


@pytest.mark.parametrize(('arguments', 'said'), [
    (('--weather', 'rain:3'), 'fog, frost, snow, spatter'),
    (('--weather', 'fog:7'), '1 (slight) to 5 (heavy)'),
    (('--stride', '0'), 'whole numbers from 1 on'),
])
def test_a_mistake_ends_in_one_line(vseg: Vseg, tmp_path: Path, arguments: tuple[str, ...],
                                     said: str) -> None:
    result = vseg('evaluate', 'street:1:4', *arguments, '--json', 's.json')
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert said in result.stderr
    assert not list(tmp_path.iterdir())
