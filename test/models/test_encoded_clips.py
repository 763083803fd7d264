"""Encoded clips on disk: what is in them, many processes, and folders of something else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vseg_ros.errors import UserError
from vseg_ros.models.encoded_clips import EncodedClips, TrackingClip
from vseg_ros.models.nano_sam2 import new_nano_sam2
from vseg_ros.models.sam2_images import model_image
from vseg_ros.models.sam2_network import Sam2Network

SIDE, LENGTH, COUNT = 64, 3, 4
CPU = torch.device('cpu')


class Noise:
    """Clips of random pixels; counts how often each is made."""

    def __init__(self, count: int = COUNT, length: int = LENGTH) -> None:
        self.count, self.length = count, length
        self.made: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> TrackingClip:
        self.made.append(index)
        random = np.random.default_rng(index)
        images = random.integers(0, 256, (self.length, 40, 70, 3)).astype(np.uint8)
        regions = random.integers(0, 65_535, (self.length, 40, 70)).astype(np.uint16)
        return TrackingClip(images, regions, f'clip {index}, ä')


def network(side: int = SIDE, seed: int = 0) -> Sam2Network:
    torch.manual_seed(seed)
    return Sam2Network(new_nano_sam2(side=side, width=64).eval())


@pytest.fixture(scope='module')
def sam() -> Sam2Network:
    return network()


def test_a_clip_is_what_the_encoder_makes_of_it(sam: Sam2Network, tmp_path: Path) -> None:
    made = Noise()
    clips = EncodedClips(tmp_path / 'clips', made, sam, LENGTH)
    assert len(clips) == COUNT
    # a model in training drops layers of its encoder at random, a frozen one must not
    sam.backbone.train()
    found = clips[2]
    source = Noise()[2]
    sam.backbone.eval()
    for time in range(LENGTH):
        direct = sam.encode_backbone(model_image(source.images[time], SIDE, CPU, torch.float32))
        for level, expected in zip(found.maps, direct, strict=True):
            assert level.dtype == torch.float16
            torch.testing.assert_close(level[time].float(), expected[0], atol=4e-3, rtol=2e-3)
        regions = cv2.resize(source.regions[time], (SIDE // 2, SIDE // 2),
                             interpolation=cv2.INTER_NEAREST)
        assert found.regions.dtype == torch.int32
        assert np.array_equal(found.regions[time], regions)
    assert found.regions.max() > 2 ** 15
    assert found.notes == clips.notes(2) == source.notes
    assert made.made == [2]


def test_each_is_encoded_once_and_found_again(sam: Sam2Network, tmp_path: Path) -> None:
    first, second = Noise(), Noise()
    clips = EncodedClips(tmp_path / 'clips', first, sam, LENGTH)
    assert clips.notes(1) == 'clip 1, ä'
    held = clips[1]
    assert first.made == [1]
    again = EncodedClips(tmp_path / 'clips', second, sam, LENGTH)
    for ours, theirs in zip(again[1].maps, held.maps, strict=True):
        assert torch.equal(ours, theirs)
    assert second.made == []
    held.maps[0].zero_()
    assert again[1].maps[0].abs().max() > 0


def fill(folder: str, order: str) -> None:
    """Run in a process of its own; it waits to be told, so that both begin together."""
    torch.set_num_threads(1)
    sam = network()
    print('ready', flush=True)
    sys.stdin.readline()
    clips = EncodedClips(Path(folder), Noise(), sam, LENGTH)
    for index in order:
        clips[int(index)]


def test_two_processes_fill_one_folder(sam: Sam2Network, tmp_path: Path) -> None:
    script = (f'import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); '
              'from test_encoded_clips import fill; fill(*sys.argv[1:])')
    both = [subprocess.Popen([sys.executable, '-c', script, str(tmp_path / 'both'), order],
                             text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE) for order in ('012', '321')]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == 'ready\n'
    # both are told at once; communicate() waits
    for process in both:
        assert process.stdin is not None
        process.stdin.write('\n')
        process.stdin.flush()
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    source = Noise()
    found = EncodedClips(tmp_path / 'both', source, sam, LENGTH)
    alone = EncodedClips(tmp_path / 'alone', Noise(), sam, LENGTH)
    for index in range(COUNT):
        for ours, theirs in zip(found[index].maps, alone[index].maps, strict=True):
            assert torch.equal(ours, theirs)
        assert torch.equal(found[index].regions, alone[index].regions)
        assert found[index].notes == f'clip {index}, ä'
    assert source.made == []
    assert not list((tmp_path / 'both').glob('.*'))


def test_a_file_that_another_process_has_begun_stays(sam: Sam2Network, tmp_path: Path) -> None:
    clips = EncodedClips(tmp_path, Noise(), sam, LENGTH)
    clips[0]
    before = (tmp_path / 'map0.npy').read_bytes()
    # as if it had appeared after this process looked
    clips._make(tmp_path / 'map0.npy', (1,), np.float16)
    assert (tmp_path / 'map0.npy').read_bytes() == before


@pytest.mark.parametrize(('count', 'length', 'side'), [(5, 3, 64), (4, 2, 64), (4, 3, 96)])
def test_another_shape_is_refused(sam: Sam2Network, tmp_path: Path, count: int, length: int,
                                  side: int) -> None:
    EncodedClips(tmp_path, Noise(), sam, LENGTH)
    other = sam if side == SIDE else network(side)
    with pytest.raises(UserError, match=r'another number, length or size: remove it'):
        EncodedClips(tmp_path, Noise(count, length), other, length)


def test_another_encoder_or_source_is_refused(sam: Sam2Network, tmp_path: Path) -> None:
    EncodedClips(tmp_path, Noise(), sam, LENGTH, 'noise')
    EncodedClips(tmp_path, Noise(), sam, LENGTH)
    with pytest.raises(UserError, match='another source'):
        EncodedClips(tmp_path, Noise(), sam, LENGTH, 'streets')
    other = network(seed=1)
    EncodedClips(tmp_path, Noise(), other, LENGTH)
    with torch.no_grad():
        next(other.backbone.parameters()).add_(1)
    with pytest.raises(UserError, match='another encoder'):
        EncodedClips(tmp_path, Noise(), other, LENGTH)


def test_what_is_damaged_or_cannot_be_written_is_named(
        sam: Sam2Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file'):
        EncodedClips(tmp_path / 'file', Noise(), sam, LENGTH)
    EncodedClips(tmp_path / 'cut', Noise(), sam, LENGTH)
    path = tmp_path / 'cut' / 'map1.npy'
    for kept in (40, 3000):
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(UserError, match=r'map1\.npy is damaged'):
            EncodedClips(tmp_path / 'cut', Noise(), sam, LENGTH)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=10 ** 5))
    with pytest.raises(UserError, match=r'take 0\.\d GB, but .* has 0\.0 GB left'):
        EncodedClips(tmp_path / 'full', Noise(100), sam, LENGTH)
    assert list((tmp_path / 'full').iterdir()) == []
    EncodedClips(tmp_path / 'small', Noise(1, 1), sam, 1)
