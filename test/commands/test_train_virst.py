"""`vseg train virst` as a user calls it: four stages in a row, a model that answers, mistakes."""

from __future__ import annotations

import json
import os
import shutil
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
from vseg_ros.commands.train_virst import stage_settings
from vseg_ros.datasets.street_queries.claims import CLAIMS
from vseg_ros.errors import UserError
from vseg_ros.frame import Frame
from vseg_ros.models.nano_sam2 import new_nano_sam2, write_nano_sam2
from vseg_ros.settings import VirstSettings
from vseg_ros.video_query import create_video_query
from vseg_ros.virst.nano import read_nano_virst

Vseg = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = Path(__file__).parents[2] / 'config' / 'train_virst.yaml'
TINY = {'street_clips': 2, 'clip_length': 3, 'frames': 3, 'batch': 1, 'questions': 2, 'steps': 2,
        'checkpoint_every': 1, 'grounding': 1.0, 'model': {
            'side': 64, 'width': 64, 'heads': 2, 'layers': 1, 'frames': 3, 'language': {
                'width': 24, 'layers': 1, 'heads': 2, 'prompt_count': 2, 'grid': 4}},
        'stage0': {'learning_rate': 0.001}, 'stage2': {'batch': 2}}


def write_params(folder: Path, **values: object) -> Path:
    path = folder / 'params.yaml'
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': TINY | values}}))
    return path


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return write_params(tmp_path)


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
          ) -> Callable[..., str]:
    """Call `vseg train virst` in this process; return what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr('sys.argv', ['vseg', 'train', 'virst', *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capsys.readouterr().err
        assert (exit_.value.code or 0) == code, said
        return said
    return run


def test_four_stages_in_a_row(vseg: Vseg, train: Callable[..., str], params: Path,
                              tmp_path: Path) -> None:
    out = tmp_path / 'runs' / 'virst'
    for stage, call in ((0, 'process'), (1, 'process'), (2, 'here'), (3, 'here')):
        arguments = ('--stage', str(stage), '--params', str(params))
        if call == 'process':
            result = vseg('train', 'virst', *arguments)
            assert result.returncode == 0, result.stderr
            said = result.stderr
        else:
            said = train(*arguments)
        assert f'stage {stage}: ' in said
        assert 'learn from 2 clips' in said
        assert ('beginning with random' if stage == 0 else 'going on with') in said
        assert f'stage{stage}.safetensors' in said
        stored = torch.load(out / f'stage{stage}.pt', weights_only=True)
        assert stored['step'] == 2
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ['clips', *(f'stage{stage}.{kind}' for stage in range(4)
                    for kind in ('pt', 'safetensors'))])
    assert len(list((out / 'clips').iterdir())) == 1, 'encoded once for all stages'
    before, after = (read_nano_virst(out / f'stage{stage}.safetensors')[0].state_dict()
                     for stage in (2, 3))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith('sam.vision_encoder.neck.') for name in changed)
    assert not any(name.startswith('sam.vision_encoder.backbone.') for name in changed)
    query = create_video_query(VirstSettings(weights=str(out / 'stage3.safetensors'),
                                             device='cpu'))
    image = np.zeros((48, 64, 3), np.uint8)
    track = query.ask([Frame(image, 0), Frame(image, 1)], 'the white car')
    assert track.masks.shape == (2, 48, 64)


def test_a_run_that_is_killed_goes_on(train: Callable[..., str], params: Path,
                                      tmp_path: Path) -> None:
    arguments = ('--stage', '0', '--params', str(params), '--out', 'run')
    checkpoint = tmp_path / 'run' / 'stage0.pt'
    process = subprocess.Popen(
        [sys.executable, '-m', 'vseg_ros.cli', 'train', 'virst', *arguments, '-p',
         'steps=100000'], cwd=tmp_path, env=os.environ | {'HF_HUB_OFFLINE': '1'},
        stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 240
        while not checkpoint.exists() and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    done = torch.load(checkpoint, weights_only=True)['step']
    assert 1 <= done < 100_000
    assert not (tmp_path / 'run' / 'stage0.safetensors').exists()
    train(*arguments, '-p', f'steps={done + 1}')
    assert torch.load(checkpoint, weights_only=True)['step'] == done + 1
    assert (tmp_path / 'run' / 'stage0.safetensors').exists()


def test_another_model_and_a_tracker_to_begin_with(train: Callable[..., str], params: Path,
                                                   tmp_path: Path) -> None:
    torch.manual_seed(3)
    tracker = new_nano_sam2(side=64, width=64)
    write_nano_sam2(tracker, tmp_path / 'sam.safetensors')
    train('--stage', '0', '--params', str(params), '--out', 'a', '-p', 'tracker=sam.safetensors',
          '-p', 'steps=1')
    model = read_nano_virst(tmp_path / 'a' / 'stage0.safetensors')[0]
    key = 'mask_decoder.iou_token.weight'
    assert torch.equal(model.sam.state_dict()[key], tracker.state_dict()[key].half().float())
    said = train('--stage', '1', '--params', str(params), '--out', 'b', '--start-from',
                 'a/stage0.safetensors', '-p', 'steps=1')
    assert 'going on with a/stage0.safetensors' in said
    later = read_nano_virst(tmp_path / 'b' / 'stage1.safetensors')[0]
    assert torch.equal(later.sam.state_dict()[key], model.sam.state_dict()[key])


def test_claims_are_learnt_where_the_model_tells_them(train: Callable[..., str],
                                                      tmp_path: Path) -> None:
    params = write_params(tmp_path, claims=1.0, precision='bfloat16')
    arguments = ('--stage', '0', '--params', str(params))
    said = train(*arguments, code=2)
    assert ('claims is 1.0, but the model tells 0 of the 56 claims of the street: set '
            'model.language.claims to 56') in ' '.join(said.split())
    assert not (tmp_path / 'runs').exists()
    telling = (*arguments, '-p', 'model.language.claims=56')
    said = train(*telling, '-p', 'model.language.folds=[3, 2, 1, 1]', code=2)
    assert 'language.folds has 3 for the map of stride 4, of 16 cells a side' in ' '.join(
        said.split())
    train(*telling, '-p', 'model.language.folds=[4, 2, 1, 1]')
    model, settings = read_nano_virst(tmp_path / 'runs' / 'virst' / 'stage0.safetensors')
    assert settings.language.claims == 56
    assert model.language.claims.weight.shape == (56, 24)


def test_things_are_learnt_where_the_model_compares_tokens(train: Callable[..., str],
                                                          tmp_path: Path) -> None:
    params = write_params(tmp_path, things=1.0, choice=1.0)
    arguments = ('--stage', '0', '--params', str(params))
    said = train(*arguments, code=2)
    assert ('things is 1.0, but the model does not tell which of its visual tokens show the same '
            'thing: set model.language.things to 64') in ' '.join(said.split())
    train(*arguments, '-p', 'model.language.things=4', '-p', 'model.language.attention=1',
          '-p', 'model.anchors=2')
    model, settings = read_nano_virst(tmp_path / 'runs' / 'virst' / 'stage0.safetensors')
    assert (settings.language.things, settings.language.attention) == (4, 1)
    assert model.language.things.layers[2].out_features == 8
    assert model.anchors == 2


def write_grefcoco(root: Path) -> Path:
    """One image, two sentences, one of which names nothing."""
    images = root / 'images' / 'mscoco' / 'images' / 'train2014'
    images.mkdir(parents=True)
    cv2.imwrite(str(images / 'COCO_train2014_000000000001.jpg'),
                np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8))
    folder = root / 'grefcoco'
    folder.mkdir()
    (folder / 'instances.json').write_text(json.dumps({
        'images': [{'id': 1, 'file_name': 'COCO_train2014_000000000001.jpg', 'height': 24,
                    'width': 32}],
        'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1,
                         'segmentation': [[3, 2, 20, 2, 20, 10, 3, 10]]}]}))
    (folder / 'grefs(unc).json').write_text(json.dumps([
        {'split': 'train', 'image_id': 1, 'ann_id': [ids], 'sentences': [
            {'sent': text, 'sent_id': ids}]}
        for ids, text in ((1, 'the zebra'), (-1, 'a unicorn'))]))
    return folder


def test_stage_2_on_images_of_a_data_set(train: Callable[..., str], params: Path,
                                         tmp_path: Path) -> None:
    folder = write_grefcoco(tmp_path / 'data')
    said = train('--stage', '2', '--params', str(params), '--out', 'run', '-p',
                 f'source={folder}', '-p', 'format=refcoco')
    assert 'learn from 1 clips' in said
    model = read_nano_virst(tmp_path / 'run' / 'stage2.safetensors')[0]
    assert model.language.unknown_words('the zebra is here, unicorn giraffe') == ['giraffe']


@pytest.mark.parametrize(('arguments', 'said'), [
    (('--stage', '4'), "'--stage'"),
    (('--stage', '0', '-p', 'stepz=3'), "did you mean 'steps'"),
    (('--stage', '0', '-p', 'steps=0'), 'at least 1'),
    (('--stage', '0', '-p', 'model.side=65'), 'model.side'),
    (('--stage', '0', '-p', 'model.heads=5'), 'no multiple of heads 5'),
    (('--stage', '0', '-p', 'model.language.heads=5'), 'no multiple of heads'),
    (('--stage', '0', '-p', 'model.encoder=no/such.safetensors'), 'no/such.safetensors'),
    (('--stage', '0', '-p', 'tracker=gone.safetensors'), 'gone.safetensors'),
    (('--stage', '0', '-p', 'source=gone'), 'gone'),
    (('--stage', '0', '-p', 'source=gone', '-p', 'format=camvid'), 'choose one of'),
    (('--stage', '1', '--start-from', 'gone.safetensors'), 'gone.safetensors'),
    (('--stage', '1', '--start-from', 'owner/model'), 'there is no model owner/model'),
    (('--stage', '1', '--start-from', '.'), 'only the small VIRST can be trained'),
    (('--stage', '1', '--start-from', 'driving-b0'), 'holds no VIRST'),
])
def test_a_mistake_is_said_and_leaves_nothing(train: Callable[..., str], params: Path,
                                              tmp_path: Path, arguments: tuple[str, ...],
                                              said: str) -> None:
    assert said in ' '.join(train(*arguments, '--params', str(params), '--out', 'out',
                                  code=2).split())
    assert not (tmp_path / 'out').exists()


def test_a_tracker_of_another_size(train: Callable[..., str], params: Path,
                                   tmp_path: Path) -> None:
    for name, size in (('wide', (64, 128)), ('large', (128, 64))):
        write_nano_sam2(new_nano_sam2(side=size[0], width=size[1]), tmp_path / name)
        said = train('--stage', '0', '--params', str(params), '--out', 'out', '-p',
                     f'tracker={name}', code=2)
        assert 'model.side' in said
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_cannot_be_made(train: Callable[..., str], params: Path,
                                      tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    assert 'cannot be made a folder' in train('--stage', '0', '--params', str(params), '--out',
                                              'file/run', code=2)


def test_settings_of_a_stage(tmp_path: Path) -> None:
    params = write_params(tmp_path, stage1={'steps': 7, 'loss_weights': {'dice': 2.0}})
    assert stage_settings(0, params).steps == 2
    first = stage_settings(1, params, ['batch=9'])
    assert (first.stage, first.steps, first.batch, first.loss_weights.dice) == (1, 7, 9, 2.0)
    assert stage_settings(2, params, ['batch=9']).batch == 9
    assert stage_settings(1, params, ['steps=3']).steps == 3
    with pytest.raises(UserError, match="did you mean 'steps'"):
        stage_settings(0, write_params(tmp_path, stage3={'stepz': 7}))
    with pytest.raises(UserError, match='stages 0 to 3'):
        stage_settings(0, write_params(tmp_path, stage4={'steps': 7}))


def test_the_shipped_file_is_for_all_stages() -> None:
    stages = [stage_settings(stage, CONFIG) for stage in range(4)]
    assert [each.stage for each in stages] == [0, 1, 2, 3]
    assert len({each.learning_rate for each in stages}) > 1
    assert {each.model.language.claims for each in stages} == {CLAIMS}
    assert all(each.things and each.choice and each.model.language.things for each in stages)
    assert {each.frames for each in stages} == {each.model.frames for each in stages}


def test_clips_of_another_length_get_a_folder_of_their_own(train: Callable[..., str],
                                                           params: Path, tmp_path: Path) -> None:
    arguments = ('--stage', '0', '--params', str(params), '--out', 'run')
    train(*arguments, '-p', 'steps=1')
    shutil.copy(tmp_path / 'run' / 'stage0.safetensors', tmp_path / 'start.safetensors')
    train(*arguments, '-p', 'clip_length=4', '-p', 'steps=2')
    assert len(list((tmp_path / 'run' / 'clips').iterdir())) == 2
