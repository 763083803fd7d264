"""`vseg evaluate` over many videos: killed and resumed, in processes, with sweeps and failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vseg_ros.commands.evaluate import evaluate
from vseg_ros.errors import UserError
from vseg_ros.io.street import SyntheticStreet

# In bfloat16 the segmenter runs without a graph that would first have to be exported.
SMALL = ['input_size=64', 'precision=bfloat16', 'device=cpu']


@pytest.fixture
def drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two videos in the layout of camvid11 each, relative to the present folder."""
    monkeypatch.chdir(tmp_path)
    names = {9: 0, 2: 1, 0: 3, 1: 4, 8: 5}  # a few of CamVid's 11 classes
    for number in (1, 2):
        for kind in ('images', 'labels'):
            (tmp_path / f'drive{number}' / kind).mkdir(parents=True)
        for index, item in enumerate(SyntheticStreet(number, 10, size=(60, 80))):
            name = f'd{number}_{index:03}.png'
            cv2.imwrite(f'drive{number}/images/{name}', item.frame.image[..., ::-1])
            labels = np.full_like(item.labels, 11)
            for driving, camvid in names.items():
                labels[item.labels == driving] = camvid
            cv2.imwrite(f'drive{number}/labels/{name}', labels)
    return ['drive1', 'drive2']


def run(sources: list[str], **options: Any) -> dict[str, Any]:
    """Evaluate in this process and return the JSON."""
    evaluate(sources, format='camvid11', pipelines='iss', json=Path('s.json'),
             **({'param': SMALL} | options))
    read: dict[str, Any] = json.loads(Path('s.json').read_text())
    return read


def without_fps(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_fps(item) for key, item in value.items() if key != 'fps'}
    return [without_fps(item) for item in value] if isinstance(value, list) else value


def test_killed_and_resumed_ends_with_the_same_scores(drives: list[str]) -> None:
    ratios, kept = '10,30,50', Path('kept')
    command = [sys.executable, '-m', 'vseg_ros.cli', 'evaluate', 'drive*', '--format', 'camvid11',
               '--pipelines', 'iss', '--warmup-ratio', ratios, '--resume', str(kept)]
    for setting in SMALL:
        command += ['-p', setting]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        while not list(kept.glob('*.score')) and process.poll() is None:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    finished = {path: path.stat().st_mtime_ns for path in kept.glob('*.score')}
    assert 0 < len(finished) < 6
    resumed = run(['drive*'], warmup_ratio=ratios, resume=kept)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(list(kept.glob('*.score'))) == 6
    assert without_fps(resumed) == without_fps(run(['drive*'], warmup_ratio=ratios))
    # Nothing is left to measure: even the frames a second are those of the first time.
    assert run(['drive*'], warmup_ratio=ratios, resume=kept) == resumed


def test_several_ratios_are_a_block_each_with_a_row_a_value(
        drives: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    scores = run(drives, warmup_ratio='10,50', sweep=['input_size=32,64'], param=SMALL[1:])
    lines = [[cell.strip() for cell in line.split('│')[1:-1]]
             for line in capsys.readouterr().out.splitlines() if line.startswith('│')]
    assert [row[0] for row in lines] == ['10 %', '', '50 %', '']
    assert lines[3][1] == 'iss[input_size=64]'
    miou = scores['runs'][1]['pipelines']['iss[input_size=64]']['miou']
    assert lines[3][3] == f'{100 * miou:.2f}'


def test_a_damaged_video_is_told_and_the_others_are_scored(
        drives: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path('drive1/images/d1_007.png').write_bytes(b'no image')
    with pytest.raises(UserError, match='1 of the trials failed, 1 video is left out'):
        run(drives)
    scores = json.loads(Path('s.json').read_text())
    assert (scores['frames'], scores['left_out']) == (10, ['d1'])
    assert 'd1_007.png' in capsys.readouterr().err


@pytest.mark.parametrize(('options', 'said'), [
    ({'jobs': 2, 'ray': 'auto'}, '--jobs is about this machine'),
    ({'sweep': ['fusion.tau=1']}, 'none of the pipelines iss has'),
    ({'ablation': ['iss']}, 'there is one of ditta'),
    ({'resume': Path('drive1')}, 'holds other things')])
def test_mistakes_are_told(drives: list[str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run(drives, **options)
    assert not Path('s.json').exists()


@pytest.mark.parametrize('option', [{'jobs': 2}, {'resume': Path('kept')}, {'ray': 'auto'},
                                    {'sweep': ['weights=a']}, {'ablation': ['ditta']}])
def test_options_of_videos_do_not_apply_to_sentences(option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f'--{next(iter(option))} does not apply to mevis'):
        evaluate(['mevis'], format='mevis', pipelines='virst', **option)
    with pytest.raises(UserError, match='one folder, not 2'):
        evaluate(['one', 'two'], format='mevis', pipelines='virst')
