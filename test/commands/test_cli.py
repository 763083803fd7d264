from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vseg_ros.io.bag_reader import BagReader
from vseg_ros.io.message_types import stamp_of
from vseg_ros.io.source import open_source

SMALL = ('-p', 'input_size=96', '-p', 'warmup.frames=4')


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a user's mistake ends in."""
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith('vseg: ')
    return lines[0].removeprefix('vseg: ')


def outputs(path: Path, name: str) -> list[tuple[int, bytes]]:
    """Stamp and bytes of every message on a topic of the result."""
    from vseg_ros.io.bag_reader import deserialize

    with BagReader(path, '/camera/image/compressed') as bag:
        found = [deserialize(path, raw) for raw in bag.messages(f'/vseg/ditta/{name}')]
    return [(stamp_of(message), bytes(message.data)) for message in found]


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of a short drive down the street."""
    from vseg_ros.io.convert import write_camera_bag

    path = tmp_path_factory.mktemp('drive') / 'drive.mcap'
    write_camera_bag(open_source('street:1:12'), path)
    return path


def test_help_teaches_every_command(vseg) -> None:
    result = vseg('--help')
    assert result.returncode == 0
    for command in ('demo', 'bag', 'replay', 'evaluate', 'train', 'weights', 'bench'):
        assert command in result.stdout
        assert vseg(command, '--help').returncode == 0


def test_bag_then_replay_gives_a_label_image_a_frame(vseg, tmp_path: Path) -> None:
    made = vseg('bag', 'street:1:8', 'drive.mcap')
    assert made.returncode == 0, made.stderr
    replayed = vseg('replay', 'drive.mcap', '--out', 'out.mcap', '--video', 'out.mp4', *SMALL)
    assert replayed.returncode == 0, replayed.stderr
    stamps = [item.frame.stamp for item in open_source(tmp_path / 'drive.mcap')]
    assert [stamp for stamp, _ in outputs(tmp_path / 'out.mcap', 'segmentation')] == stamps
    assert [stamp for stamp, _ in outputs(tmp_path / 'out.mcap', 'confidence')] == stamps
    assert sum(1 for _ in open_source(tmp_path / 'out.mp4')) == 8


def test_two_replays_with_one_seed_write_identical_labels(vseg, drive: Path,
                                                          tmp_path: Path) -> None:
    for name in ('a.mcap', 'b.mcap'):
        result = vseg('replay', str(drive), '--out', name, *SMALL)
        assert result.returncode == 0, result.stderr
    first, second = (outputs(tmp_path / name, 'segmentation') for name in ('a.mcap', 'b.mcap'))
    assert first == second


def test_what_was_learned_starts_frozen(vseg, drive: Path, tmp_path: Path) -> None:
    assert vseg('replay', str(drive), '--save', 'here.safetensors', *SMALL).returncode == 0
    assert (tmp_path / 'here.safetensors').stat().st_size < 6e6
    result = vseg('replay', str(drive), '--out', 'out.mcap', '-p', 'input_size=96',
                  '-p', 'adapted_weights=here.safetensors')
    assert result.returncode == 0, result.stderr
    with BagReader(tmp_path / 'out.mcap', '/camera/image/compressed') as bag:
        from vseg_ros.io.bag_reader import deserialize

        states = [deserialize(tmp_path / 'out.mcap', raw).status[0].message
                  for raw in bag.messages('/diagnostics')]
    assert states == ['FROZEN']


def test_evaluate_writes_scores_and_a_report(vseg, tmp_path: Path) -> None:
    result = vseg('evaluate', 'street:1:24', '--warmup-ratio', '20', '--json', 's.json',
                  '--report', 'r.html', '-p', 'input_size=96')
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / 's.json').read_text())
    assert scores['frames'] == 24
    assert scores['warmup'] == 4
    assert set(scores['pipelines']) == {'iss', 'ditta'}
    for pipeline in scores['pipelines'].values():
        assert 0 < pipeline['miou'] <= 1
        assert 0 < pipeline['mvc8'] <= 1
    assert '</html>' in (tmp_path / 'r.html').read_text()


def test_bag_shorter_than_its_warmup_says_so(vseg, drive: Path) -> None:
    result = vseg('replay', str(drive), '--out', 'out.mcap', '-p', 'input_size=96',
                  '-p', 'warmup.frames=500')
    assert result.returncode == 0
    assert 'within the warm-up' in result.stderr


@pytest.mark.parametrize(('arguments', 'said'), [
    (('replay', 'gone.mcap', '--out', 'o.mcap'), 'gone.mcap'),
    (('replay', 'street:1:4'), '--out'),
    (('replay', 'street:1:4', '--out', 'o.mcap', '--pipeline', 'dita'), 'ditta'),
    (('replay', 'street:1:4', '--out', 'o.mcap', '-p', 'fusion.tua=0.5'), "'fusion.tau'"),
    (('replay', 'street:1:4', '--out', 'o.mcap', '-p', 'fusion.tau=5'), '0 to 1'),
    (('replay', 'street:1:4', '--out', 'o.mcap', '-p', 'fusion.tau=x'), '0 to 1'),
    (('replay', 'street:1:4', '--out', 'o.mcap', '--params', 'gone.yaml'), 'gone.yaml'),
    (('replay', 'street:1:4', '--out', 'o.mcap', '-p', 'device=tpu'), 'tpu'),
    (('replay', 'street:1:4', '--out', 'o.mcap', '-p', 'segmenter=some/model'), 'hf download'),
    (('replay', 'street:1:4', '--out', 'o.mcap', '-p', 'tracker=sam2.1-hiera-tiny'), 'sam2.1'),
    (('replay', 'street:1:4', '--out', 'o.mcap', '-p', 'adapted_weights=gone'), 'gone'),
    (('replay', 'street:1:4', '--out', 'no/such/folder/o.mcap'), 'no/such/folder'),
    (('evaluate', 'street:1:4', '--warmup-ratio', 'ten'), '--warmup-ratio'),
    (('evaluate', 'street:1:4', '--pipelines', 'iss,nothing'), 'nothing'),
    (('bag', 'street:x', 'o.mcap'), 'street'),
    (('weights', 'path', 'nothing'), 'driving-b0'),
])
def test_a_mistake_ends_in_one_line_and_leaves_nothing(vseg, tmp_path: Path, arguments,
                                                       said: str) -> None:
    assert said in one_line(vseg(*arguments))
    assert not list(tmp_path.iterdir())


def test_several_image_topics_are_listed(vseg, tmp_path: Path) -> None:
    from vseg_ros.io.bag_writer import BagWriter
    from vseg_ros.io.message_types import image_message

    with BagWriter(tmp_path / 'two.mcap') as bag:
        for topic in ('/left/image', '/right/image'):
            bag.write(topic, image_message(np.zeros((8, 8, 3), np.uint8), 'rgb8', 1, ''), 1)
    line = one_line(vseg('replay', 'two.mcap', '--out', 'o.mcap'))
    assert '--topic' in line
    assert '/left/image' in line
    assert '/right/image' in line


def test_ctrl_c_closes_the_output_cleanly(drive: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, '-m', 'vseg_ros.cli', 'replay', 'street:1:4000', '--pipeline', 'iss',
         '--out', 'o.mcap', '-p', 'input_size=96'], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 1_000_000 for path in tmp_path.rglob('*')
                  if path.is_file()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) not in (0, 2)
    assert [path.name for path in tmp_path.iterdir()] == ['o.mcap']
    assert sum(1 for _ in open_source(tmp_path / 'o.mcap', topic='/camera/image/compressed')) > 2
