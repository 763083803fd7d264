"""`vseg replay --weather`: what the pipeline sees, and what the result bag holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vseg_ros.datasets.weather import parse_weather
from vseg_ros.datasets.weather_source import WeatherSource
from vseg_ros.io.bag_file import BagFile
from vseg_ros.io.convert import write_camera_bag
from vseg_ros.io.source import open_source
from vseg_ros.pipeline import create_pipeline
from vseg_ros.settings_reading import load_pipeline_settings

CAMERA = '/camera/image/compressed'
PLAIN = ('--pipeline', 'iss', '-p', 'input_size=96')


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('drive') / 'drive.mcap'
    write_camera_bag(open_source('street:1:4'), path)
    return path


def payloads(path: Path, topic: str) -> list[bytes]:
    with BagFile(path) as bag:
        return [bytes(m.data) for m in bag.messages() if m.connection.topic == topic]


def test_pipeline_and_result_bag_have_the_painted_frames(
        vseg, drive: Path, tmp_path: Path) -> None:
    result = vseg('replay', str(drive), *PLAIN, '-p', 'seed=7', '--weather', 'fog:4',
                  '--out', 'out.mcap', '--video', 'out.mp4')
    assert result.returncode == 0, result.stderr
    settings = load_pipeline_settings(['iss'], None, ['input_size=96', 'seed=7'])['iss']
    runner = create_pipeline('iss', settings)
    painted = WeatherSource(open_source(drive), parse_weather('fog:4'), seed=7)
    held = list(open_source(tmp_path / 'out.mcap', topic=CAMERA))
    labels = list(open_source(tmp_path / 'out.mcap', topic=CAMERA,
                              labels='/vseg/iss/segmentation'))
    for item, stored, segmented in zip(painted, held, labels, strict=True):
        assert stored.frame.stamp == item.frame.stamp
        assert np.abs(stored.frame.image.astype(int) - item.frame.image).mean() < 2
        assert np.array_equal(stored.labels, item.labels), 'true labels are carried over'
        (expected,) = runner.step(item.frame)
        assert np.mean(segmented.labels == expected.labels) > 0.999
    assert sum(1 for _ in open_source(tmp_path / 'out.mp4')) == 4


def test_one_seed_paints_and_labels_alike(vseg, drive: Path, tmp_path: Path) -> None:
    for name in ('a.mcap', 'b.mcap'):
        result = vseg('replay', str(drive), *PLAIN, '--weather', 'spatter', '--out', name)
        assert result.returncode == 0, result.stderr
    for topic in (CAMERA, '/vseg/iss/segmentation'):
        first, again = (payloads(tmp_path / name, topic) for name in ('a.mcap', 'b.mcap'))
        assert len(first) == 4
        assert first == again


def test_a_source_without_a_bag_is_written_as_painted(vseg, tmp_path: Path) -> None:
    result = vseg('replay', 'street:1:2', *PLAIN, '--weather', 'snow:5', '--out', 'out.mcap')
    assert result.returncode == 0, result.stderr
    painted = WeatherSource(open_source('street:1:2'), parse_weather('snow:5'))
    held = open_source(tmp_path / 'out.mcap', topic=CAMERA)
    for item, stored in zip(painted, held, strict=True):
        assert np.abs(stored.frame.image.astype(int) - item.frame.image).mean() < 6


@pytest.mark.parametrize(('weather', 'said'), [
    ('fgo:3', "did you mean 'fog'"), ('fog:9', '1 (slight) to 5 (heavy)'),
    ('rain', 'fog, frost, snow, spatter')])
def test_a_mistake_ends_in_one_line_and_leaves_nothing(vseg, drive: Path, tmp_path: Path,
                                                       weather: str, said: str) -> None:
    result = vseg('replay', str(drive), '--out', 'out.mcap', '--weather', weather)
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


def test_help_says_what_there_is(vseg) -> None:
    words = ' '.join(vseg('replay', '--help').stdout.replace('│', ' ').split())
    assert '--weather' in words
    assert 'fog, frost, snow or spatter' in words
