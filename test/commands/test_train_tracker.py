"""`vseg train tracker` as a user calls it: interrupted, resumed, and one line for mistakes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from vseg_ros.cli import main
from vseg_ros.labels import DRIVING
from vseg_ros.models.loading import write_segmenter
from vseg_ros.models.nano_sam2 import new_nano_sam2, read_nano_sam2, write_nano_sam2
from vseg_ros.models.segformer import new_segformer
from vseg_ros.models.tracker import create_tracker
from vseg_ros.settings_reading import load_settings
from vseg_ros.training_settings import TrackerTrainingSettings

CONFIG = Path(__file__).parent.parent.parent / 'config'
Refusal = Callable[..., str]


@pytest.fixture
def first_run(tmp_path: Path) -> Path:
    """A model as an earlier run writes it, but small, which the runs of these tests take over."""
    # not the seed of the settings, which would draw the same weights again
    torch.manual_seed(3)
    path = tmp_path / 'points' / 'nano-sam2.safetensors'
    path.parent.mkdir()
    write_nano_sam2(new_nano_sam2(side=64, width=64), path)
    return path


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """One image in the camvid11 form: sky, road, and a car."""
    folder = tmp_path / 'camvid'
    labels = np.full((96, 128), 3, np.uint8)
    labels[:40], labels[50:80, 30:90] = 0, 8
    for name, content in (('images', labels * 20), ('labels', labels)):
        (folder / name).mkdir(parents=True)
        cv2.imwrite(str(folder / name / 'drive_00000.png'), content)
    return folder


@pytest.fixture
def params(tmp_path: Path, first_run: Path, camvid: Path) -> Path:
    path = tmp_path / 'params.yaml'
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': {
        'camvid': str(camvid), 'street_clips': 0, 'pan_clips': 2, 'clip_length': 2, 'frames': 2,
        'start_from': str(first_run), 'steps': 3, 'batch': 1, 'objects': 2, 'min_cells': 4,
        'mask_prompts': 0.5, 'warmup_steps': 1, 'checkpoint_every': 1}}}))
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Call `vseg` in this process, which need not load PyTorch again; return its exit code."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> int:
        monkeypatch.setattr('sys.argv', ['vseg', *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return int(exit_.value.code or 0)
    return call


@pytest.fixture
def refusal(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Return the one line of a call that is refused."""
    def call(*arguments: str) -> str:
        capsys.readouterr()
        assert run(*arguments) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1, said
        assert said[0].startswith('vseg: ')
        return said[0]
    return call


def test_trains_is_interrupted_goes_on_and_follows(params: Path, first_run: Path, tmp_path: Path,
                                                   run: Callable[..., int]) -> None:
    arguments = ('train', 'tracker', '--params', str(params), '--out', 'runs/tracker')
    out = tmp_path / 'runs' / 'tracker'
    command = [sys.executable, '-m', 'vseg_ros.cli', *arguments, '-p', 'steps=100000']
    with subprocess.Popen(command, cwd=tmp_path, env=os.environ | {'HF_HUB_OFFLINE': '1'},
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not (out / 'checkpoint.pt').exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert 'M parameters are trained on 2 clips, as driving-b0 sees them' in errors
    assert process.returncode not in (0, 1, 2)
    assert 'Traceback' not in errors
    assert {path.name for path in out.iterdir()} == {'checkpoint.pt', 'clips'}
    done = torch.load(out / 'checkpoint.pt', weights_only=True)['step']
    assert 0 < done < 100_000
    assert run(*arguments, '-p', f'steps={done + 2}') == 0
    assert torch.load(out / 'checkpoint.pt', weights_only=True)['step'] == done + 2
    written = out / 'nano-sam2.safetensors'
    assert {path.name for path in out.iterdir()} == {'checkpoint.pt', 'clips', written.name}
    before, after = read_nano_sam2(first_run), read_nano_sam2(written)
    assert before.config.image_size == after.config.image_size == 64
    assert not torch.equal(before.mask_decoder.conv_s0.weight, after.mask_decoder.conv_s0.weight)
    session = create_tracker(str(written)).open()
    for level in (0, 90):
        session.append(np.full((48, 64, 3), level, np.uint8))
    session.add_point(0, 1, (20, 20))
    assert session.track(1)[1].shape == (48, 64)


def test_a_run_begins_with_the_weights_of_another_and_shares_its_clips(
        params: Path, first_run: Path, tmp_path: Path, run: Callable[..., int]) -> None:
    train = ('train', 'tracker', '--params', str(params), '-p', 'steps=1', '-p',
             'learning_rate=1e-9', '-p', 'weight_decay=0', '-p', 'street_clips=1')
    assert run(*train, '--out', 'one') == 0
    filled = (tmp_path / 'one' / 'clips' / 'done.npy').stat().st_mtime_ns
    assert run(*train, '--out', 'two', '--clips', 'one/clips') == 0
    assert not (tmp_path / 'two' / 'clips').exists()
    assert (tmp_path / 'one' / 'clips' / 'done.npy').stat().st_mtime_ns == filled
    start = read_nano_sam2(first_run).state_dict()
    for name, value in read_nano_sam2(tmp_path / 'two' / first_run.name).state_dict().items():
        torch.testing.assert_close(value, start[name], atol=1e-5, rtol=2e-3)


@pytest.mark.parametrize(('override', 'said'), [
    ('camvid=gone', 'gone/images'),
    ('encoder=no-such-encoder', 'no-such-encoder'),
    ('start_from=no-such-file', 'no-such-file'),
    ('start_from=points', 'start_from points is no file: give one written by'),
    ('start_from=owner/model', 'start_from owner/model is no file'),
    ('start_from=params.yaml', 'params.yaml cannot be read as safetensors'),
    ('frames=3', 'frames 3 is more than the clip_length 2'),
    ('frames=1', 'set mask_prompts 0.5 to 0'),
    ('objectz=3', "did you mean 'objects'"),
    ('steps=0', 'at least 1'),
])
def test_a_mistake_ends_in_one_line_and_leaves_nothing(refusal: Refusal, params: Path,
                                                       tmp_path: Path, override: str,
                                                       said: str) -> None:
    assert said in refusal('train', 'tracker', '--params', str(params), '--out', 'out', '-p',
                           override)
    assert not (tmp_path / 'out').exists()


def test_folders_and_weights_that_do_not_go_together(refusal: Refusal, params: Path,
                                                     tmp_path: Path) -> None:
    train = ('train', 'tracker', '--params', str(params))
    (tmp_path / 'file').write_text('')
    assert 'file/run cannot be made a folder' in refusal(*train, '--out', 'file/run')
    assert 'give street_clips, or camvid and pan_clips' in refusal(
        *train, '-p', 'pan_clips=0')
    assert 'lies in points, whose own run would go on' in refusal(*train, '--out', 'points')
    torch.manual_seed(5)
    write_segmenter(new_segformer(DRIVING, 'b0'), tmp_path / 'b0.safetensors', 'b0')
    assert 'name its own with -p encoder=NAME' in refusal(*train, '-p', 'encoder=b0.safetensors')


def test_clips_of_other_settings_are_refused(refusal: Refusal, run: Callable[..., int],
                                             params: Path, tmp_path: Path) -> None:
    train = ('train', 'tracker', '--params', str(params), '--out', 'out')
    assert run(*train, '-p', 'steps=1') == 0
    assert 'out/clips holds encoded clips of another source: remove it' in refusal(
        *train, '-p', 'street_clips=2')
    (tmp_path / 'out' / 'checkpoint.pt').write_bytes(b'damaged')
    assert 'checkpoint.pt is damaged' in refusal(*train)


@pytest.mark.parametrize('name', ['train_tracker_points', 'train_tracker'])
def test_the_shipped_settings_fit_together(name: str) -> None:
    from vseg_ros.models.tracker_training import check_prompts
    settings = load_settings(TrackerTrainingSettings, CONFIG / f'{name}.yaml')
    check_prompts(settings)
    assert bool(settings.start_from) == (settings.frames > 1)
