"""`vseg replay`: which messages of a bag it needs, and a warm-up given as a share of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vseg_ros.commands import replay as command
from vseg_ros.commands.evaluate import evaluate
from vseg_ros.commands.replay import replay, resolve_warmup
from vseg_ros.ditta.onnx_pipeline import ExportedDittaPipeline
from vseg_ros.errors import UserError
from vseg_ros.io.bag_file import BagFile
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.message_types import image_message
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


def outputs(path: Path, topic: str) -> list[int]:
    """Return the receive times of the messages on a topic."""
    with BagFile(path) as bag:
        return [message.log_time for message in bag.messages((topic,))]


def test_label_images_are_carried_over_unread(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'in.mcap') as bag:
        picture = image_message(np.full((32, 48, 3), 90, np.uint8), 'rgb8', 7, 'lens')
        for topic in ('/camera/image', '/left/labels', '/right/labels'):
            bag.write(topic, picture, 9)
    replay(str(tmp_path / 'in.mcap'), 'iss', tmp_path / 'out.mcap', param=['input_size=32'])
    for topic in ('/vseg/iss/segmentation', '/left/labels', '/right/labels'):
        assert outputs(tmp_path / 'out.mcap', topic) == [9]


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """A bag of four images, the first and third of which are damaged."""
    path = tmp_path / 'torn.mcap'
    with BagWriter(path) as bag:
        for index in range(4):
            picture = np.full((32, 48, 3), index * 60, np.uint8)
            message = image_message(picture, 'rgb8', 10 + index, 'lens')
            message.height += index in (0, 2)
            bag.write('/camera/image', message, 10 + index)
    return path


@pytest.mark.parametrize('weather', [None, 'snow:1'])
def test_damaged_images_are_left_out_and_told(torn: Path, tmp_path: Path, weather: str | None,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'out.mcap'
    replay(str(torn), 'iss', out, weather=weather, param=['input_size=32'])
    assert outputs(out, '/vseg/iss/segmentation') == [11, 13]
    assert outputs(out, '/camera/image') == ([10, 11, 12, 13] if weather is None else [11, 13])
    counted, told = capsys.readouterr().err.splitlines()[-2:]
    assert counted.startswith('2 frames in, 2 label images out')
    assert told.startswith('note: 2 images were skipped, since they cannot be decoded; the ')
    assert told.endswith(f'(topic /camera/image, received at 10 ns, in {torn})')


def test_a_message_whose_bytes_are_damaged_is_carried_over(tmp_path: Path) -> None:
    path, out = tmp_path / 'in.db3', tmp_path / 'out.mcap'
    with BagWriter(path) as bag:
        for index in range(3):
            picture = np.full((8, 8, 3), index, np.uint8)
            bag.write('/cam', image_message(picture, 'rgb8', 10 + index, ''), 10 + index)
    whole = path.read_bytes()
    at = whole.index(b'rgb8', whole.index(b'rgb8') + 1) - 4
    path.write_bytes(whole[:at] + b'\xff\xff' + whole[at + 2:])
    replay(str(path), 'iss', out, param=['input_size=32'])
    assert outputs(out, '/vseg/iss/segmentation') == [10, 12]
    assert outputs(out, '/cam') == [10, 11, 12]


def test_scores_are_over_all_frames_or_none(torn: Path) -> None:
    with pytest.raises(UserError, match=r'/camera/image, received at 10 ns, in .*torn\.mcap'):
        evaluate([str(torn)], pipelines='iss', param=['input_size=32'])


def test_help_names_every_pipeline(vseg: Any) -> None:
    said = ' '.join(vseg('replay', '--help').stdout.split())
    assert f'{", ".join(PIPELINE_SETTINGS)}; iss is the plain segmenter' in said


@pytest.mark.parametrize(('name', 'reason'), [
    ('iss', 'iss learns nothing that could be saved'), ('ditta', 'x.onnx is an exported model')])
def test_who_learns_nothing_is_asked_before_anything_is_computed(
        name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exported(ExportedDittaPipeline):
        def __init__(self) -> None:
            self.settings = DittaSettings(adapted_weights='x.onnx')

    monkeypatch.setattr(command, 'create_pipeline',
                        lambda name, settings: object() if name == 'iss' else Exported())
    monkeypatch.setattr(command, '_write', lambda *_: pytest.fail('it was run'))
    with pytest.raises(UserError, match=reason):
        replay('street:1:4', name, tmp_path / 'out.mcap', save=tmp_path / 'here.safetensors')
    assert not list(tmp_path.iterdir())
