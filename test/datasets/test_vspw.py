"""VSPW: its lists, its labels minus one, and what opening it touches."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from vseg_ros.class_names import VSPW
from vseg_ros.datasets import vspw as reader
from vseg_ros.datasets.vspw import vspw_sources
from vseg_ros.errors import UserError

SECOND = 1_000_000_000


def test_a_split_is_its_list_in_its_order(vspw):
    videos = vspw_sources(vspw, 'val')
    assert [video.name for video in videos] == ['1002_x', '1001_5z_ijQjUf_0']
    assert [video.name for video in vspw_sources(vspw, 'train')] == ['127_-hIVCYO4C90', '3_abc']
    for video in videos:
        assert len(video) == video.frame_count == 4
        assert video.label_set is VSPW
        assert video.path == vspw / 'data' / video.name


def test_without_a_split_every_video_is_there(vspw):
    shutil.rmtree(vspw / 'data/5_test')
    (vspw / 'data/.cache').mkdir()
    assert [video.name for video in vspw_sources(vspw)] == [
        '1001_5z_ijQjUf_0', '1002_x', '127_-hIVCYO4C90', '3_abc']


def test_labels_are_ids_minus_one(vspw):
    labels = vspw_sources(vspw, 'val')[0][0].labels
    # as the baseline code has it: 0 becomes 255, all lose one, and 254 is 255
    stored = np.resize(np.array([*range(125), 254, 255]), labels.shape)
    expected = np.where(stored == 0, 255, stored) - 1
    expected[expected == 254] = 255
    expected[stored == 254] = 255
    np.testing.assert_array_equal(labels, expected)
    assert labels.flat[61] == VSPW.names.index('flower') - 7 == VSPW.names.index('person')


def test_stamps_count_at_15_hz_from_the_first_frame(vspw):
    items = list(vspw_sources(vspw, 'val')[0])
    assert [item.frame.stamp for item in items] == [
        0, round(SECOND / 15), round(SECOND * 2 / 15), round(SECOND * 4 / 15)]
    assert [round(float(item.frame.image.mean())) for item in items] == [0, 20, 40, 60]


def test_a_frame_without_a_mask_has_no_labels(vspw):
    (vspw / 'data/1002_x/mask/00000011.png').unlink()
    video = vspw_sources(vspw, 'val')[0]
    assert [item.labels is None for item in video] == [False, False, True, False]
    assert video[-1].labels is not None


def test_masks_with_a_palette_are_numbers_too(vspw, palette_writer):
    ids = np.resize(np.arange(125), (24, 32))
    palette_writer(vspw / 'data/1002_x/mask/00000009.png', ids)
    labels = vspw_sources(vspw, 'val')[0][0].labels
    np.testing.assert_array_equal(labels, np.where(ids == 0, 255, ids - 1))
    palette_writer(vspw / 'data/1002_x/mask/00000009.png', ids[:12])
    with pytest.raises(UserError, match=r'00000009\.png is 32x12, its image .*\.jpg is 32x24'):
        vspw_sources(vspw, 'val')[0][0]


def test_opening_touches_no_video(vspw, monkeypatch):
    listed: list[Path] = []
    real = reader.files_by_name
    monkeypatch.setattr(reader, 'files_by_name',
                        lambda folder, suffix: (listed.append(folder), real(folder, suffix))[1])
    scanned: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, 'scandir', lambda path: (scanned.append(str(path)), scandir(path))[1])
    videos = vspw_sources(vspw, 'train')
    assert listed == []
    assert scanned == [str(vspw / 'data')]
    assert len(videos[0]) == 4
    assert listed == [vspw / 'data/127_-hIVCYO4C90/origin']


def test_what_is_missing_is_named(vspw, tmp_path):
    with pytest.raises(UserError, match=r'no folder .*none: vspw has data/VIDEO/origin/\*\.jpg'):
        vspw_sources(tmp_path / 'none')
    with pytest.raises(UserError, match=r'no list .*dev\.txt: vspw has the splits train, val, t'):
        vspw_sources(vspw, 'dev')
    with pytest.raises(UserError, match=r'5_test/mask: vspw has .*the masks of test are not publ'):
        vspw_sources(vspw, 'test')
    shutil.rmtree(vspw / 'data/1001_5z_ijQjUf_0')
    with pytest.raises(UserError, match=r'no folder .*1001_5z_ijQjUf_0, a video of val\.txt \(1 '
                                        r'of its 2 are not there\): download the data set whole'):
        vspw_sources(vspw, 'val')
    shutil.rmtree(vspw / 'data')
    with pytest.raises(UserError, match=r'no folder .*data: vspw has'):
        vspw_sources(vspw)
    (vspw / 'data').mkdir()
    with pytest.raises(UserError, match=r'no video in .*data: vspw has'):
        vspw_sources(vspw)


def test_damage_within_a_video_is_named_when_it_is_read(vspw, image_writer):
    first, second = vspw_sources(vspw, 'val')
    mask = vspw / 'data/1002_x/mask/00000009.png'
    mask.write_bytes(mask.read_bytes()[:40])
    with pytest.raises(UserError, match=r'label image .*00000009\.png is damaged'):
        next(iter(first))
    image_writer(vspw / 'data/1002_x/origin/cover.jpg')
    with pytest.raises(UserError, match=r'cover\.jpg is not named by a frame number, as vspw'):
        first[0]
    for path in (vspw / 'data/1001_5z_ijQjUf_0/mask').iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r'no image in .*1001_5z_ijQjUf_0/origin has a mask'):
        list(second)
    for path in (vspw / 'data/1001_5z_ijQjUf_0/origin').iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r'no image of the data set in .*1001_5z_ijQjUf_0/origin'):
        len(second)
