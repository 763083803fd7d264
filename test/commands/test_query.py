"""`vseg query`: what it asks, what it writes, what it prints."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from vseg_ros.commands import query as command
from vseg_ros.errors import UserError
from vseg_ros.io.bag_file import BagFile
from vseg_ros.io.bag_writer import BagWriter
from vseg_ros.io.message_types import TYPES, image_message, stamp_of
from vseg_ros.io.source import open_source
from vseg_ros.settings import VirstSettings

STEP = 100_000_000
START = 1_700_000_000_000_000_000
SIZE = 48, 64
FRAMES = 12


def picture(index: int) -> Any:
    """A red square that moves to the right; it is gone from the tenth picture on."""
    image = np.full((*SIZE, 3), 90, np.uint8)
    if index < 10:
        image[30:40, 4 * index:4 * index + 10] = 220, 20, 20
    return image


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    path = tmp_path / 'drive.mcap'
    with BagWriter(path) as bag:
        for index in range(FRAMES):
            stamp = START + index * STEP
            bag.write('/camera/image', image_message(picture(index), 'rgb8', stamp, 'lens'),
                      stamp)
    return path


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The small model of colours, in place of the one that the settings name."""
    path = Path(__file__).parents[1] / 'color_query.py'
    spec = importlib.util.spec_from_file_location('color_query', path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.ColorQuery()

    def create(settings: VirstSettings) -> Any:
        model.settings = settings
        return model
    monkeypatch.setattr(command, 'create_video_query', create)
    return model


Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: capsys.readouterr().out


def masks_of(path: Path) -> dict[int, Any]:
    """Return stamp -> mask of a result bag."""
    found = {}
    with BagFile(path) as bag:
        for message in bag.messages():
            if message.connection.topic == '/vseg/virst/mask':
                image = TYPES.deserialize_cdr(message.data, message.connection.msgtype)
                assert (image.encoding, image.header.frame_id) == ('mono8', 'lens')
                assert message.log_time == stamp_of(image)
                found[stamp_of(image)] = image.data.reshape(image.height, image.width)
    return found


def counts(path: Path) -> dict[str, int]:
    """Return topic -> number of messages."""
    found: dict[str, int] = {}
    with BagFile(path) as bag:
        for message in bag.messages():
            found[message.connection.topic] = found.get(message.connection.topic, 0) + 1
    return found


def test_short_clip_is_asked_about_as_a_whole(model: Any, drive: Path, tmp_path: Path,
                                              said: Said) -> None:
    out, video = tmp_path / 'out.mcap', tmp_path / 'out.mp4'
    command.query(str(drive), '  the red\nthing ', out, video)
    assert model.asked == [('the red thing', [START + STEP * each for each in range(FRAMES)])]
    assert model.stepped == []
    masks = masks_of(out)
    assert list(masks) == [START + STEP * each for each in range(FRAMES)]
    for index, mask in enumerate(masks.values()):
        expected = np.zeros(SIZE, np.uint8)
        if index < 10:
            expected[30:40, 4 * index:4 * index + 10] = 255
        assert np.array_equal(mask, expected)
    assert counts(out) == {'/camera/image': FRAMES, '/vseg/virst/mask': FRAMES,
                           '/vseg/virst/overlay/compressed': FRAMES, '/diagnostics': 1}
    assert said().splitlines() == ['Here it is.', 'score 0.83, visible in 10 of 12 frames (83%)']
    film = [item.frame.image for item in open_source(video)]
    assert len(film) == FRAMES
    assert film[3].shape == (*SIZE, 3)
    assert np.abs(film[3][32:38, 14:20].astype(int) - (236, 38, 82)).mean() < 25, 'tinted'


def test_long_clip_is_followed_to_its_end(model: Any, drive: Path, tmp_path: Path,
                                          said: Said) -> None:
    out = tmp_path / 'out.mcap'
    command.query(str(drive), 'the red thing', out, param=['window.max_frames=5'])
    assert model.settings.window.max_frames == 5
    assert model.asked == [('the red thing', [START + STEP * each for each in range(5)])]
    assert model.stepped == [START + STEP * each for each in range(5, FRAMES)]
    masks = list(masks_of(out).values())
    assert [bool(mask.any()) for mask in masks] == [True] * 10 + [False] * 2
    assert 'visible in 10 of 12 frames' in said()


def test_answer_that_changes_on_the_way(model: Any, drive: Path, tmp_path: Path, said: Said,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    out, drawn = tmp_path / 'out.mcap', []
    draw = command.draw_answer
    monkeypatch.setattr(command, 'draw_answer', lambda image, mask, question, answer: (
        drawn.append(answer), draw(image, mask, question, answer))[1])
    command.query(str(drive), 'the red thing', out, param=['window.max_frames=5'])
    assert drawn == ['Here it is.'] * 10 + ['There is no such thing.'] * 2
    with BagFile(out) as bag:
        told = {each.log_time: TYPES.deserialize_cdr(each.data, each.connection.msgtype)
                for each in bag.messages(['/diagnostics'])}
    assert {time: message.status[0].message for time, message in told.items()} == {
        START: 'Here it is.', START + 10 * STEP: 'There is no such thing.'}
    assert said().splitlines()[:2] == [
        'Here it is.', f'from {10 * STEP / 1e9:.1f} s on: There is no such thing.']


@pytest.mark.parametrize('again', [0, START + 2 * STEP, START + 20 * STEP])
def test_camera_that_begins_anew_is_asked_about_again(model: Any, tmp_path: Path, said: Said,
                                                      again: int) -> None:
    path, out, video = tmp_path / 'twice.mcap', tmp_path / 'out.mcap', tmp_path / 'out.mp4'
    # stamps that do not rise, or rise as the images grow
    grown = 2 if again > START + 10 * STEP else 1
    stamps = [START + index * STEP for index in range(6)]
    stamps += [again + index * STEP if again else stamps[-1] + index for index in range(3)]
    with BagWriter(path) as bag:
        for index, stamp in enumerate(stamps):
            image = np.kron(picture(index), np.ones((grown if index > 5 else 1,) * 2 + (1,)))
            message = image_message(image.astype(np.uint8), 'rgb8', stamp, 'lens')
            bag.write('/camera/image', message, START + index * STEP)
    command.query(str(path), 'the red thing', out, video, param=['window.max_frames=4'])
    assert [stamps for _, stamps in model.asked] == [stamps[:4], stamps[6:7]]
    assert model.stepped == [*stamps[4:6], *stamps[7:]]
    assert counts(out)['/vseg/virst/mask'] == 9
    assert sum(1 for _ in open_source(video)) == 9
    assert 'visible in 9 of 9 frames' in said()


def test_part_of_a_clip(model: Any, drive: Path, tmp_path: Path, said: Said) -> None:
    out = tmp_path / 'out.mcap'
    command.query(str(drive), 'the red thing', out, start=0.3, stop=0.75)
    assert list(masks_of(out)) == [START + STEP * each for each in range(3, 8)]
    assert counts(out)['/camera/image'] == FRAMES, 'the input is carried over whole'
    assert 'visible in 5 of 5 frames' in said()
    assert model.asked[0][1] == [START + STEP * each for each in range(3, 8)]


def test_object_that_is_not_there(model: Any, drive: Path, tmp_path: Path, said: Said) -> None:
    out = tmp_path / 'out.mcap'
    command.query(str(drive), 'the green thing', out)
    assert not any(mask.any() for mask in masks_of(out).values())
    assert said().splitlines()[:2] == ['There is no such thing.',
                                       'score 0.00, visible in 0 of 12 frames (0%)']


def test_answer_is_in_the_diagnostics(model: Any, drive: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out.mcap'
    command.query(str(drive), 'the red thing', out)
    with BagFile(out) as bag:
        status = next(TYPES.deserialize_cdr(each.data, each.connection.msgtype)
                      for each in bag.messages()
                      if each.connection.topic == '/diagnostics').status[0]
    assert (status.name, status.message) == ('vseg/virst', 'Here it is.')
    assert {each.key: each.value for each in status.values} == {
        'question': 'the red thing', 'answer': 'Here it is.', 'score': '0.833'}


def test_label_images_are_carried_over_unread(model: Any, drive: Path, tmp_path: Path) -> None:
    labelled, out = tmp_path / 'labelled.mcap', tmp_path / 'out.mcap'
    with BagWriter(labelled) as bag:
        for index in range(4):
            stamp = START + index * STEP
            image = image_message(picture(index), 'rgb8', stamp, 'lens')
            for topic in ('/camera/image', '/left/labels', '/right/labels'):
                bag.write(topic, image, stamp)
    command.query(str(labelled), 'the red thing', out)
    assert counts(out) == {'/camera/image': 4, '/left/labels': 4, '/right/labels': 4,
                           '/vseg/virst/mask': 4, '/vseg/virst/overlay/compressed': 4,
                           '/diagnostics': 1}


def test_damaged_image_costs_itself_alone(model: Any, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / 'torn.mcap', tmp_path / 'out.mcap'
    with BagWriter(path) as bag:
        for index in range(4):
            stamp = START + index * STEP
            image = image_message(picture(index), 'rgb8', stamp, 'lens')
            image.height += index == 2
            bag.write('/camera/image', image, stamp)
    command.query(str(path), 'the red thing', out)
    assert list(masks_of(out)) == [START + STEP * each for each in (0, 1, 3)]
    said, told = capsys.readouterr()
    assert 'visible in 3 of 3 frames' in said
    assert told.splitlines()[-1].startswith('note: one image was skipped, since it cannot be')


def test_folder_of_images_without_any_output(model: Any, tmp_path: Path, said: Said) -> None:
    (tmp_path / 'pictures').mkdir()
    for index in range(4):
        cv2.imwrite(str(tmp_path / f'pictures/{index}.png'), picture(index)[..., ::-1])
    command.query(str(tmp_path / 'pictures'), 'the red thing')
    assert 'visible in 4 of 4 frames' in said()
    assert [each.name for each in tmp_path.iterdir()] == ['pictures']


def test_asking_a_result_bag_again_replaces_the_answer(model: Any, drive: Path,
                                                       tmp_path: Path) -> None:
    out, again = tmp_path / 'out.mcap', tmp_path / 'again.mcap'
    command.query(str(drive), 'the red thing', out)
    command.query(str(out), 'the green thing', again)
    assert counts(again)['/vseg/virst/mask'] == FRAMES
    assert not any(mask.any() for mask in masks_of(again).values())


@pytest.mark.parametrize(('text', 'options', 'words'), [
    ('', {}, 'the question is empty'), ('x' * 10_000, {}, 'has 10000 characters'),
    ('it', {'start': 2.0, 'stop': 1.0}, '--stop 1 comes before --start 2'),
    ('it', {'start': 60.0}, 'has no frame between --start and --stop'),
    ('it', {'param': ['window.max_fames=3']}, "did you mean 'window.max_frames'"),
    ('it', {'topic': '/front'}, 'there is no topic /front')])
def test_mistake_is_told_and_leaves_nothing(model: Any, drive: Path, tmp_path: Path, text: str,
                                            options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        command.query(str(drive), text, tmp_path / 'out.mcap', tmp_path / 'out.mp4', **options)
    assert [each.name for each in tmp_path.iterdir()] == ['drive.mcap']


def test_output_that_would_replace_the_input(model: Any, drive: Path) -> None:
    with pytest.raises(UserError, match='would replace the input'):
        command.query(str(drive), 'the red thing', drive)


def test_failure_halfway_leaves_nothing(model: Any, drive: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match='it stumbled'):
        command.query(str(drive), 'the red stumble', tmp_path / 'out.mcap',
                      tmp_path / 'out.mp4', param=['window.max_frames=5'])
    assert [each.name for each in tmp_path.iterdir()] == ['drive.mcap']


def test_the_real_model_from_the_command_line(vseg: Any, drive: Path, tiny_virst: Path,
                                              tmp_path: Path) -> None:
    options = ('-p', f'weights={tiny_virst}', '-p', 'window.max_frames=6', '-p', 'device=cpu',
               '-p', 'follow.reanchor=0.3')
    outputs = []
    for name in ('a', 'b'):
        result = vseg('query', str(drive), 'the red car', '--out', f'{name}.mcap', '--video',
                      f'{name}.mp4', *options)
        assert result.returncode == 0, result.stderr
        outputs.append(result.stdout)
        masks = masks_of(tmp_path / f'{name}.mcap')
        assert list(masks) == [START + STEP * each for each in range(FRAMES)]
        assert {mask.shape for mask in masks.values()} == {SIZE}
    assert outputs[0] == outputs[1]
    assert f'of {FRAMES} frames' in outputs[0]
    first, second = (masks_of(tmp_path / name) for name in ('a.mcap', 'b.mcap'))
    assert all(np.array_equal(first[stamp], second[stamp]) for stamp in first)


def test_weights_that_are_not_there(vseg: Any, drive: Path, tmp_path: Path) -> None:
    result = vseg('query', str(drive), 'the red car', '--out', 'out.mcap', '-p',
                  'weights=/no/such')
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith('vseg: ')
    assert '/no/such' in line
    assert not (tmp_path / 'out.mcap').exists()
