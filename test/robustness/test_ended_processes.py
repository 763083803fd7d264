"""
`vseg` ended from outside in the middle of writing.

Killed, it cannot tidy up: what it wrote lies in hidden folders, nothing stands under the final
name that is not whole, and the next run works. By Ctrl-C or SIGTERM it closes what it has.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from vseg_ros.io.bag_reader import BagReader
from vseg_ros.io.bag_source import BagSource

Vseg = Callable[..., Any]
# bfloat16 runs eagerly also on a CPU: the first export of a segmenter takes half a minute.
SMALL = ('-p', 'precision=bfloat16', '-p', 'device=cpu', '-p', 'input_size=64')
PICTURES = {'many': 4000, 'few': 3}


def partial(folder: Path, least: int) -> bool:
    """Tell whether something of that many bytes is being written."""
    return any(path.is_file() and '.partial' in str(path) and path.stat().st_size >= least
               for path in folder.rglob('*'))


def images(bag: Path) -> int:
    """Count the images of a bag's camera, reading every one of them."""
    with BagReader(bag) as found:
        names = [each.topic for each in found.connections if each.topic.startswith('/camera/')]
    return sum(1 for _ in BagSource(bag, names[0]))


def whole_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith('.'))


@pytest.fixture
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of many and of few pictures; noise, which fills the chunks of a bag soon."""
    root = tmp_path_factory.mktemp('pictures')
    noise = np.random.default_rng(0).integers(0, 256, (192, 256, 3), np.uint8)
    cv2.imwrite(str(root / 'noise.png'), noise)
    for name, count in PICTURES.items():
        (root / name).mkdir()
        for index in range(count):
            (root / name / f'{index}.png').symlink_to(root / 'noise.png')
    return root


@pytest.fixture
def long_commands(pictures: Path, tiny_virst: Path) -> dict[str, tuple[str, ...]]:
    """Commands that write for a long time, by name."""
    many = str(pictures / 'many')
    return {
        'bag': ('bag', many, 'out.mcap', '--encoding', 'rgb8'),
        'replay': ('replay', many, '--pipeline', 'iss', '--out', 'out.mcap', *SMALL),
        'query': ('query', many, 'the car', '--out', 'out.mcap', '-p',
                  f'weights={tiny_virst}', '-p', 'device=cpu', '-p', 'window.max_frames=2')}


@pytest.mark.parametrize('name', ['bag', 'replay', 'query'])
def test_kill(vseg: Vseg, tmp_path: Path, long_commands: dict[str, tuple[str, ...]],
              name: str) -> None:
    (tmp_path / 'out.mcap').write_text('old')
    command = vseg(*long_commands[name])
    command.until(lambda: partial(tmp_path, 20_000))
    command.process.kill()
    assert command.wait() == -signal.SIGKILL
    assert whole_names(tmp_path) == ['out.mcap']
    assert (tmp_path / 'out.mcap').read_text() == 'old'
    again = vseg(*(word.replace('/many', '/few') for word in long_commands[name]))
    assert again.wait() == 0, again.errors
    assert images(tmp_path / 'out.mcap') == PICTURES['few']


@pytest.mark.parametrize(('name', 'number', 'code'), [
    ('bag', signal.SIGINT, 130), ('bag', signal.SIGTERM, 143),
    ('replay', signal.SIGTERM, 143), ('query', signal.SIGTERM, 143)])
def test_signal(vseg: Vseg, tmp_path: Path, long_commands: dict[str, tuple[str, ...]], name: str,
                number: int, code: int) -> None:
    command = vseg(*long_commands[name])
    command.until(lambda: partial(tmp_path, 20_000))
    os.kill(command.process.pid, number)
    assert command.wait() == code
    assert not any('Traceback' in line for line in command.errors)
    assert [path.name for path in tmp_path.iterdir()] == ['out.mcap'], 'nothing hidden is left'
    assert images(tmp_path / 'out.mcap') > 1


def training(steps: int) -> str:
    """Return a parameter file of a small training."""
    values = {'camvid': '', 'street_images': 2, 'warmup_steps': 1, 'checkpoint_every': 1,
              'calibration_images': 0, 'device': 'cpu', 'precision': 'float32', 'stages': [
                  {'steps': steps, 'batch': 1, 'height': 32, 'width': 32, 'street_share': 1.0}]}
    return yaml.safe_dump({'/**': {'ros__parameters': values}})


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_training_goes_on_from_its_last_whole_checkpoint(vseg: Vseg, tmp_path: Path,
                                                         number: int) -> None:
    checkpoint = tmp_path / 'run' / 'checkpoint.pt'
    arguments = ('train', 'iss', '--params', 'train.yaml', '--out', 'run')
    (tmp_path / 'train.yaml').write_text(training(100_000))
    command = vseg(*arguments)
    command.until(lambda: checkpoint.exists() and partial(tmp_path / 'run', 1000))
    os.kill(command.process.pid, number)
    assert command.wait() == (-number if number == signal.SIGKILL else 143)
    assert whole_names(tmp_path / 'run') == ['checkpoint.pt']
    done = torch.load(checkpoint, weights_only=True)['step']
    assert 0 < done < 100_000
    (tmp_path / 'train.yaml').write_text(training(done + 1))
    again = vseg(*arguments)
    assert again.wait() == 0, again.errors
    assert whole_names(tmp_path / 'run') == ['checkpoint.pt', 'segmenter.safetensors']
