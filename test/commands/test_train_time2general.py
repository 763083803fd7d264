"""`vseg train time2general` as a user calls it: a result that runs, one line for mistakes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from transformers import Dinov2Config, Dinov2Model

from vseg_ros.cli import main
from vseg_ros.io.street import SyntheticStreet
from vseg_ros.labels import CAMVID11_TO_DRIVING, DRIVING
from vseg_ros.pipeline import create_pipeline
from vseg_ros.settings import Time2GeneralSettings

Vseg = Callable[..., subprocess.CompletedProcess[str]]
SIZE = 84, 112


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                             image_size=56)).save_pretrained(tmp_path / 'dinov2')
    return tmp_path / 'dinov2'


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Six images in the camvid11 form, drawn by the synthetic street."""
    ids = np.full(256, 11, np.uint8)
    for camvid_id, driving_id in CAMVID11_TO_DRIVING.items():
        ids[driving_id] = camvid_id
    folder = tmp_path / 'camvid'
    for name in ('images', 'labels'):
        (folder / name).mkdir(parents=True)
    street = SyntheticStreet(5, 6)
    for index in range(6):
        item = street[index]
        image = cv2.resize(item.frame.image, SIZE[::-1], interpolation=cv2.INTER_AREA)
        labels = cv2.resize(item.labels, SIZE[::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / 'images' / f'drive_{index:05}.png'), image[..., ::-1])
        cv2.imwrite(str(folder / 'labels' / f'drive_{index:05}.png'), ids[labels])
    return folder


@pytest.fixture
def params(tmp_path: Path, backbone: Path, camvid: Path) -> Path:
    path = tmp_path / 'params.yaml'
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': {
        'model': {'backbone': str(backbone), 'blocks': [1, 2], 'queries': 6, 'width': 16,
                  'decoder_blocks': 1, 'heads': 2, 'points': 2, 'feed_forward': 16,
                  'clip_length': 3, 'upsampling': 1},
        'source': str(camvid), 'street_videos': 1, 'street_share': 0.5, 'height': 56,
        'width': 56, 'class_share': 1.0, 'weather_share': 0.3, 'steps': 4, 'batch': 2,
        'drawn_clips': 3, 'device': 'cpu', 'precision': 'float32', 'checkpoint_every': 2}}}))
    return path


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
            ) -> Callable[..., str]:
    """Call `vseg` in this process, which need not load PyTorch again; return its one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))

    def run(*arguments: str) -> str:
        monkeypatch.setattr('sys.argv', ['vseg', *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 2
        # transformers counts the weights it has loaded
        said = [line for line in capsys.readouterr().err.splitlines()
                if line.strip() and 'Loading weights' not in line]
        assert len(said) == 1, said
        assert said[0].startswith('vseg: ')
        return said[0]
    return run


def test_trains_validates_resumes_and_runs(vseg: Vseg, params: Path, camvid: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ('train', 'time2general', '--params', str(params), '--out', 'runs/t2g')
    result = vseg(*arguments, '--validate', str(camvid))
    assert result.returncode == 0, result.stderr
    assert 'M parameters are trained on' in result.stderr
    scores = [line for line in result.stderr.splitlines() if line.startswith('step ')]
    assert [line.split(':')[0] for line in scores] == ['step 2', 'step 4']
    assert all(0 <= float(line.split()[-1]) <= 1 for line in scores)
    out = tmp_path / 'runs' / 't2g'
    assert {'checkpoint.pt', 'time2general.safetensors'} <= {path.name for path in out.iterdir()}
    assert {path.name for path in out.iterdir()} <= {'checkpoint.pt', 'logs',
                                                     'time2general.safetensors'}
    trained = (out / 'time2general.safetensors')
    pipeline = create_pipeline('time2general', Time2GeneralSettings(
        weights=str(trained), device='cpu', input_size=56))
    [answer] = pipeline.step(SyntheticStreet(1, 1)[0].frame)
    assert answer.label_set.names == DRIVING.names
    assert torch.load(out / 'checkpoint.pt', weights_only=True)['step'] == 4
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['vseg', *arguments, '-p', 'steps=6'])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert not exit_.value.code
    assert torch.load(out / 'checkpoint.pt', weights_only=True)['step'] == 6


@pytest.mark.parametrize(('override', 'said'), [
    ('source=gone', 'gone/images'),
    ('format=camvid12', "no data set format 'camvid12': choose one of camvid, camvid11"),
    ('format=cityscapes', 'camvid'),
    ('model.backbone=no/such/backbone.pt', 'no/such/backbone.pt'),
    ('model.backbone=facebook/dinov2-large', 'hf download'),
    ('model.blocks=[1, 3]', 'has 2 blocks to read'),
    ('model.heads=3', 'no multiple of model.heads'),
    ('stepz=3', "did you mean 'steps'"),
    ('steps=0', 'at least 1'),
])
def test_a_mistake_ends_in_one_line_and_leaves_nothing(refusal: Callable[..., str], params: Path,
                                                       tmp_path: Path, override: str,
                                                       said: str) -> None:
    assert said in refusal('train', 'time2general', '--params', str(params), '--out', 'out',
                           '-p', override)
    assert not (tmp_path / 'out').exists()


def test_what_cannot_be_read_or_written(refusal: Callable[..., str], params: Path, camvid: Path,
                                        tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    train = ('train', 'time2general', '--params', str(params))
    assert 'file/run cannot be made a folder' in refusal(*train, '--out', 'file/run')
    assert 'gone' in refusal(*train, '--out', 'out', '--validate', 'gone')
    assert 'no video of 9 frames to validate on' in refusal(
        *train, '--out', 'out', '--validate', str(camvid), '-p', 'model.clip_length=9')
    assert 'gone.yaml' in refusal('train', 'time2general', '--params', 'gone.yaml')
    assert not (tmp_path / 'out').exists()


def test_nothing_to_train_on(refusal: Callable[..., str], params: Path) -> None:
    assert 'nothing to train on' in refusal(
        'train', 'time2general', '--params', str(params), '-p', 'source=', '-p',
        'street_videos=0')
    assert not (params.parent / 'runs').exists()
