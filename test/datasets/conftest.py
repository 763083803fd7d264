"""Data sets in their published layouts and names, with a few images of 32 x 24 pixels."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vseg_ros.labels import CAMVID32_PALETTE

WIDTH, HEIGHT = 32, 24
DRIVE = '2013_05_28_drive_0000_sync'


def write_image(path: Path, value: int = 0) -> Path:
    """Write an image of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), value, np.uint8))
    return path


def spread_ids(ids: list[int]) -> np.ndarray[Any, Any]:
    """Lay the ids row by row over a label map, again and again."""
    return np.resize(np.array(ids, np.uint8), (HEIGHT, WIDTH))


def write_ids(path: Path, ids: list[int]) -> Path:
    """Write a label image with one id a pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), spread_ids(ids))
    return path


def write_colors(path: Path, ids: list[int]) -> Path:
    """Write a label image in CamVid's colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    painted = np.array(CAMVID32_PALETTE, np.uint8)[spread_ids(ids)]
    assert cv2.imwrite(str(path), cv2.cvtColor(painted, cv2.COLOR_RGB2BGR))
    return path


def write_camvid(root: Path) -> Path:
    """Write stills of two drives; the last has no label image."""
    for number, name in enumerate(('0001TP_006690', '0001TP_006720', '0016E5_07959',
                                   '0016E5_07961', '0016E5_08001')):
        write_image(root / '701_StillsRaw_full' / f'{name}.png', number)
        if name != '0016E5_08001':
            write_colors(root / 'LabeledApproved_full' / f'{name}_L.png', list(range(32)))
    return root


def write_cityscapes(root: Path, split: str = 'val', sequences: bool = True) -> Path:
    """Write two snippets of one long drive, a city of a short one, a label for each."""
    snippets = (('frankfurt', 0, 275), ('frankfurt', 0, 557), ('lindau', 7, 0))
    for city, sequence, first in snippets:
        labelled = f'{city}_{sequence:06}_{first + 19:06}'
        write_image(root / 'leftImg8bit' / split / city / f'{labelled}_leftImg8bit.png', 19)
        folder = root / 'gtFine' / split / city
        write_ids(folder / f'{labelled}_gtFine_labelIds.png', list(range(34)))
        write_ids(folder / f'{labelled}_gtFine_instanceIds.png', [1])
        for frame in range(30) if sequences else ():
            name = f'{city}_{sequence:06}_{first + frame:06}_leftImg8bit.png'
            write_image(root / 'leftImg8bit_sequence' / split / city / name, frame)
    return root


def write_kitti360(root: Path) -> Path:
    """Write a drive of 40 frames, labelled from 5 to 10 but for 7, and at 25 and 26."""
    raw = root / 'data_2d_raw' / DRIVE / 'image_00'
    semantics = root / 'data_2d_semantics' / 'train'
    for frame in range(40):
        write_image(raw / 'data_rect' / f'{frame:010}.png', frame)
    for frame in (5, 6, 8, 9, 10, 25, 26):
        folder = semantics / DRIVE / 'image_00'
        write_ids(folder / 'semantic' / f'{frame:010}.png', list(range(45)))
        write_image(folder / 'semantic_rgb' / f'{frame:010}.png')
    write_ids(semantics / '2013_05_28_drive_0002_sync/image_00/semantic/0000000000.png', [7])
    for split, frames in (('train', (5, 6, 8)), ('val', (25, 26))):
        (semantics / f'2013_05_28_drive_{split}_frames.txt').write_text(''.join(
            f'data_2d_raw/{DRIVE}/image_00/data_rect/{frame:010}.png '
            f'data_2d_semantics/train/{DRIVE}/image_00/semantic/{frame:010}.png\n'
            for frame in frames))
    return root


def write_times(root: Path, count: int = 40) -> Path:
    """Write a time for each of KITTI-360's frames, ten a second and a little late."""
    path = root / 'data_2d_raw' / DRIVE / 'image_00' / 'timestamps.txt'
    path.write_text(''.join(f'2013-05-28 08:46:{frame // 10:02}.{frame % 10}04475136\n'
                            for frame in range(count)))
    return path


def write_apolloscape(root: Path) -> Path:
    """Write a record of both cameras of one road, and one of another without instances."""
    ids = [0, 1, 17, *range(33, 41), 49, 50, 65, 66, 67, *range(81, 87), *range(97, 101), 113,
           *range(161, 169), 255]
    for place, (road, record, camera, time) in enumerate((
            ('road01_ins', 'Record011', 5, '170908_061502547'),
            ('road01_ins', 'Record011', 5, '170908_061502408'),
            ('road01_ins', 'Record011', 6, '170908_061502408'),
            ('road02_seg', 'Record022', 5, '170927_063811892'))):
        name = f'{time}_Camera_{camera}'
        write_image(root / road / 'ColorImage' / record / f'Camera {camera}' / f'{name}.jpg',
                    place * 20)
        labels = root / road / 'Label' / record / f'Camera {camera}'
        write_ids(labels / f'{name}_bin.png', ids)
        write_ids(labels / f'{name}_instanceIds.png', [3])
    for split, name in (('train', '170908_061502408'), ('val', '170908_061502547')):
        (root / f'road01_ins_{split}.lst').write_text(
            f'road01_ins/ColorImage/Record011/Camera 5/{name}_Camera_5.jpg\t'
            f'road01_ins/Label/Record011/Camera 5/{name}_Camera_5_bin.png\n')
    return root


VSPW_VIDEOS = {'train': ['127_-hIVCYO4C90', '3_abc'], 'val': ['1002_x', '1001_5z_ijQjUf_0'],
               'test': ['5_test']}


def write_vspw(root: Path) -> Path:
    """Write videos whose frames do not begin at 0, two of val; those of test have no masks."""
    root.mkdir()
    for split, videos in VSPW_VIDEOS.items():
        (root / f'{split}.txt').write_text(''.join(f'{video}\n' for video in videos))
        for video in videos:
            for number, frame in enumerate((9, 10, 11, 13)):
                folder = root / 'data' / video
                write_image(folder / 'origin' / f'{frame:08}.jpg', number * 20)
                if split != 'test':
                    write_ids(folder / 'mask' / f'{frame:08}.png', [*range(125), 254, 255])
    (root / 'label_num_dic_final.json').write_text('{}')
    return root


def write_ade20k(root: Path) -> Path:
    """Write two images of each split, one of them in training without labels."""
    for folder, split in (('training', 'train'), ('validation', 'val')):
        for number in (1, 2):
            name = f'ADE_{split}_{number:08}'
            write_image(root / 'images' / folder / f'{name}.jpg', number)
            if (split, number) != ('train', 2):
                write_ids(root / 'annotations' / folder / f'{name}.png', list(range(151)))
    return root


Writer = Callable[..., Path]


@pytest.fixture
def vspw(tmp_path: Path) -> Path:
    return write_vspw(tmp_path / 'VSPW_480p')


@pytest.fixture
def ade20k(tmp_path: Path) -> Path:
    return write_ade20k(tmp_path / 'ADEChallengeData2016')


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    return write_camvid(tmp_path / 'CamVid')


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    return write_cityscapes(tmp_path / 'cityscapes')


@pytest.fixture
def kitti360(tmp_path: Path) -> Path:
    return write_kitti360(tmp_path / 'KITTI-360')


@pytest.fixture
def kitti360_times(kitti360: Path) -> Path:
    return write_times(kitti360)


@pytest.fixture
def apolloscape(tmp_path: Path) -> Path:
    return write_apolloscape(tmp_path / 'apolloscape')


@pytest.fixture
def image_writer() -> Writer:
    return write_image


@pytest.fixture
def ids_writer() -> Writer:
    return write_ids


@pytest.fixture
def cityscapes_writer() -> Writer:
    return write_cityscapes


def write_palette(path: Path, ids: np.ndarray[Any, Any]) -> Path:
    """Write object ids as a PNG with a palette, as annotation tools save them."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (struct.pack('>I', len(data)) + kind + data
                + struct.pack('>I', zlib.crc32(kind + data)))
    header = struct.pack('>IIBBBBB', ids.shape[1], ids.shape[0], 8, 3, 0, 0, 0)
    colors = bytes(value for number in range(256) for value in (number // 2, 9, 255 - number))
    rows = b''.join(b'\0' + row.tobytes() for row in ids.astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'PLTE', colors)
                     + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))
    return path


def write_expressions(path: Path, videos: dict[str, dict[str, Any]]) -> Path:
    """Write a `meta_expressions.json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({'videos': videos}))
    return path


@pytest.fixture
def palette_writer() -> Writer:
    return write_palette


@pytest.fixture
def expressions_writer() -> Writer:
    return write_expressions
